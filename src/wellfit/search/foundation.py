"""What regularization is compared on: the network's width and how numbers enter it, chosen before anything else.

The choice is the network's, not the regularization's: everything that is compared later stands on it, the unregularized
network too. It is made by cross-validation of two plain configurations on the development rows, within a small share of the
budget, and kept, so that a resumed run stands on the same ground.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.data.preprocess import BINS
from wellfit.population.modules.problem import ModuleProblem
from wellfit.population.pool import Pool
from wellfit.population.problem import Member
from wellfit.population.tiers import AnyProblem, make_stack, on_card, tier_of
from wellfit.population.train import stack_size
from wellfit.search.configuration import Configuration
from wellfit.search.prepare import PreparedTable
from wellfit.search.rundir import RunDirectory
from wellfit.search.settings import Budget, Settings
from wellfit.search.subject import Folds, Prepared
from wellfit.search.trainer import Trainer

NETWORKS = ((64, 64), (128, 128, 128), (256, 256, 256))
WIDEST = 400        # inputs that bins may make
MOST_CELLS = 10**8  # of all bins together: 400 MB
ROWS_OF_A_BIN = 10  # at least, before fine bins are tried
SHARE = 0.12        # of a time budget, for trying
GLANCE = 128        # examples learned from that a network of one's own is judged on after every epoch; each costs a forward pass
_PROBE_STEPS = 16   # of an epoch, to measure what one costs
_COMPARED = 32      # configurations of the first comparison, roughly, which settings are made to fit
_LIGHT: dict[str, dict[str, float]] = {"dropout": {"rate": 0.15}, "weight_decay": {"timescale": 20.0}}
_ENOUGH = 0.4       # of the epochs that the size of the data asks for: what a wider network has to be able to train
_WORTH = 0.02       # relative improvement of the merit that a more expensive network has to bring
_WORTH_FINE = 0.01  # and fine bins


@dataclass(frozen=True)
class Asked:
    """What of the foundation the user has settled already (None: open)."""

    hidden: tuple[int, ...] | None
    epochs: int | None
    folds: int | None
    encoding: str  # of wellfit.data.preprocess.ENCODINGS, or auto


class Foundation:
    """Chooses settings and encoding for one run.

    Args:
        run: where the choice is kept.
        prepared: the table, plainly encoded unless another encoding was asked for.
        settings: for the data's size.
        pool: trains.
        seed: of the trials.
        asked: what is settled.
        budget: of the run.
        started: when it began, on the monotonic clock.
    """

    def __init__(self, run: RunDirectory, prepared: PreparedTable, settings: Settings, pool: Pool, seed: int, asked: Asked,
                 budget: Budget, started: float):
        self.run, self.prepared, self.settings, self.pool, self.seed = run, prepared, settings, pool, seed
        self.asked, self.budget, self.started = asked, budget, started
        self._seconds: dict[tuple[int, ...], float] = {}  # of an epoch of one configuration on one fold

    def choose(self, tell: Callable[[str], None]) -> tuple[PreparedTable, Settings]:
        """The data in their chosen encoding and folds, and the settings."""
        known = self.run.load_job("foundation")
        if known is None:
            self.run.save_job("foundation", self._choice(tell), {})
            known = self.run.load_job("foundation")
            assert known is not None
        settings = Settings.from_mapping(known[0]["settings"])
        return self._in(settings, known[0]["encoding"]), settings

    def _choice(self, tell: Callable[[str], None]) -> dict[str, Any]:
        candidates = [self.asked.hidden] if self.asked.hidden else list(NETWORKS)
        if self.budget.seconds is None and not self.asked.hidden:
            candidates = [self.settings.hidden]  # with work as the budget there is no clock to choose by
        encoding = self.prepared.encoding
        fitted = {h: self._fitted(replace(self.settings, hidden=h)) for h in candidates if h is not None}
        first = next(iter(fitted.values()))
        # judged on fewer rows, or after too few epochs, a network cannot be compared, nor its regularizers later
        fitted = {h: f for h, f in fitted.items()
                  if f is first or (f.folds == first.folds and f.epochs >= _ENOUGH * self.settings.epochs)}
        hidden, merits = self._network(fitted, encoding, tell)
        if self.asked.encoding == "auto":
            encoding = self._encoding(fitted[hidden], merits, tell)
        return {"settings": fitted[hidden].to_mapping(), "encoding": encoding,
                "merits": {f"{'-'.join(map(str, h))} {e}": m for (h, e), m in merits.items()}}

    def _network(self, fitted: dict[tuple[int, ...], Settings], encoding: str,
                 tell: Callable[[str], None]) -> tuple[tuple[int, ...], dict[tuple[tuple[int, ...], str], float]]:
        merits: dict[tuple[tuple[int, ...], str], float] = {}
        if len(fitted) == 1:
            return next(iter(fitted)), merits
        tell("choosing the network")
        middle = self.settings.hidden
        best = middle if middle in fitted else next(iter(fitted))
        lowest = math.inf
        for hidden, settings in fitted.items():  # from the smallest
            if merits and not self._affords(settings):
                break
            merits[hidden, encoding] = merit = self._merit(self._in(settings, encoding), settings)
            if merit < lowest - _WORTH * abs(lowest) or not math.isfinite(lowest):
                best, lowest = hidden, merit
        return best, merits

    def _encoding(self, settings: Settings, merits: dict[tuple[tuple[int, ...], str], float],
                  tell: Callable[[str], None]) -> str:
        """Bins where they help, and many where they help clearly more and there are the rows for them."""

        def merit(prepared: PreparedTable) -> float:
            if (settings.hidden, prepared.encoding) not in merits:
                merits[settings.hidden, prepared.encoding] = self._merit(prepared, settings)
            return merits[settings.hidden, prepared.encoding]

        table = self.prepared.table
        numbers = sum(c.kind == "numeric" for c in table.features)
        best = self._in(settings, "plain")
        for finer, least, worth in (("piecewise", 0, 0.0), ("fine", ROWS_OF_A_BIN, _WORTH_FINE)):
            bins = BINS[finer]
            if len(self.prepared.split.train) < least * bins or len(table) * numbers * bins > MOST_CELLS:
                break
            candidate = self._in(settings, finer)
            if not best.inputs.shape[1] < candidate.inputs.shape[1] <= WIDEST or not self._affords(settings):
                break
            tell("choosing how numbers enter the network")
            if merit(candidate) >= merit(best) - worth * abs(merit(best)):
                break
            best = candidate
        return best.encoding

    # ---- trying

    def _in(self, settings: Settings, encoding: str) -> PreparedTable:
        prepared = self.prepared.with_folds(self.seed, settings.folds)
        return prepared if prepared.encoding == encoding else prepared.with_encoding(encoding)

    def _merit(self, prepared: PreparedTable, settings: Settings) -> float:
        """The better of two plain configurations, cross-validated."""
        tried = [Configuration(Recipe(), 1e-3), Configuration(Recipe(*(lookup(n)(**v) for n, v in _LIGHT.items())), 2e-3)]
        name = "-".join(map(str, settings.hidden))
        results = trainer_for(self.run, prepared, settings, self.pool, self.seed, f"{name} {prepared.encoding}").evaluate(
            f"try-{name}-{prepared.encoding}", tried)
        return min((o.merit for (o,) in results if o.usable), default=math.inf)

    def _affords(self, settings: Settings) -> bool:
        """Whether trying two configurations with these settings keeps within the share of the budget."""
        if self.budget.seconds is None:
            return True
        needed = 2 * settings.folds * settings.epochs * self._seconds[settings.hidden] / self._at_once
        return time.monotonic() - self.started + needed < SHARE * self.budget.seconds + 1.0

    @property
    def _at_once(self) -> int:
        """How many stacks are trained at a time: one for each core, but for a graphics card one."""
        return 1 if on_card(self.prepared.device) else self.pool.workers

    def _fitted(self, settings: Settings) -> Settings:
        """Fewer epochs and folds, until the comparison of all methods fits about a third of a time budget (it costs more than the
        plain stack that is measured here). What an epoch costs is measured on a stack for a moment."""
        if self.budget.seconds is None:
            return settings
        split = self.prepared.split
        some = min(len(split.train), _PROBE_STEPS * settings.batch_size)
        scale = len(split.train) / some
        part = (split.train[:some], split.validation[:max(1, round(len(split.validation) / scale))])
        probe = replace(self.prepared.problem(settings, (part,)), epochs=3)
        recipe = Recipe(lookup("dropout")())
        tier = tier_of(probe, Member(recipe, 1e-3))
        count = min(stack_size(probe, tier=tier), {"native": 4, "cuda": _COMPARED * settings.folds}.get(tier, 16))
        stack = make_stack(probe, [Member(recipe, 1e-3, seed=k) for k in range(count)], tier=tier)
        stack.run_epoch()
        begun = time.perf_counter()
        stack.run_epoch()
        self._seconds[settings.hidden] = each = scale * (time.perf_counter() - begun) / count
        allowed = 0.25 * self.budget.seconds * self._at_once / (_COMPARED * each)  # epochs of all folds together
        return settings.within(allowed, epochs=self.asked.epochs is None, folds=self.asked.folds is None)


def trainer_for(run: RunDirectory, prepared: Prepared, settings: Settings, pool: Pool, seed: int, key: str) -> Trainer:
    """A trainer over the folds of ``prepared``; ``key`` tells its problem from others."""

    def problem_of(folds: Folds) -> AnyProblem:
        problem = prepared.problem(settings, folds)
        return replace(problem, probe_rows=GLANCE) if isinstance(problem, ModuleProblem) else problem

    def divided_anew(number: int) -> AnyProblem:
        return problem_of(prepared.other_folds(seed + number))

    problem = problem_of(prepared.split.folds)
    judged = torch.cat([f.validation for f in problem.folds]).numpy()
    return Trainer(pool, run, problem, divided_anew, prepared.scorer(judged), prepared.scale, seed, key)

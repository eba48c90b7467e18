"""Trains configurations and returns what a choice needs: predictions for every judged row, errors, histories."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wellfit.population.pool import Pool, Progress
from wellfit.population.problem import Member, MetricNames
from wellfit.population.tiers import AnyProblem
from wellfit.population.train import Record, Wants, mean_history
from wellfit.search.configuration import Configuration
from wellfit.search.rundir import RunDirectory
from wellfit.search.score import Scorer, softmax

_SEED_STRIDE = 7919
_LAYOUT = 2  # of the jobs on file: one of another layout is done again


@dataclass
class Outcome:
    """A configuration trained on every fold with one seed.

    Attributes:
        error: of the pooled predictions on all judged rows (for a pruned one: the mean error at its rung).
        merit: what choices rank by (``Scorer.merit``; for a pruned one: worse than the error by the plain log loss).
        predictions: (n_judged, C) probabilities, or target values (n_judged, 1); None when pruned.
        rows: (n_judged,) contributions to the error.
        epochs: mean best epoch over the folds.
        history: per epoch, the mean over the folds.
        pruned_at: the rung at which it was left behind, or None.
        finished: whether it reached an end (a rung or its last epoch) before the deadline.
    """

    configuration: Configuration
    seed: int
    error: float = math.nan
    merit: float = math.nan
    predictions: np.ndarray | None = None
    rows: np.ndarray | None = None
    epochs: float = 0.0
    history: dict[str, list[float]] = field(default_factory=dict)
    pruned_at: int | None = None
    finished: bool = False

    @property
    def usable(self) -> bool:
        return self.finished and self.pruned_at is None and math.isfinite(self.error)


@dataclass(frozen=True)
class Screened:
    """What a first look at a configuration gave: error and loss on one fold after ``epochs`` epochs.

    ``ended`` says that it was trained to its end.
    """

    configuration: Configuration
    part: int
    error: float
    loss: float
    epochs: int
    ended: bool


@dataclass
class Fit:
    """A configuration refitted on all development rows: test predictions, error on the training rows, weights."""

    configuration: Configuration
    seed: int
    predictions: np.ndarray | None = None
    train_error: float = math.nan
    weights: dict[str, np.ndarray] | None = None


@dataclass
class _Pace:
    """How fast a job goes: configuration-epochs done since it began."""

    begun: float = field(default_factory=time.monotonic)
    work: float = 0.0
    rung: int = 0

    def affords(self, deadline: float, epochs: int) -> int:
        """How many configurations can be trained from the current rung to the end before ``deadline``; at least one."""
        now = time.monotonic()
        each = (now - self.begun) / max(self.work, 1) * (epochs - self.rung)
        return max(1, int(0.9 * (deadline - now) / max(each, 1e-6)))


class _Halving:
    """After each rung the share ``keep`` of the configurations with the smallest mean error goes on, and all ``protected`` ones, as
    long as the deadline allows them to finish; if it does not, the first protected one and the best go on.

    Member ``n`` belongs to configuration ``n // size``.
    """

    def __init__(self, size: int, keep: float, protected: Sequence[int], deadline: float | None, epochs: int):
        self.size, self.keep, self.protected, self.deadline, self.epochs = size, keep, protected, deadline, epochs
        self.pruned: dict[str, int] = {}
        self._pace = _Pace()

    def __call__(self, records: dict[int, Record], rung: int) -> list[int]:
        mine = _by_configuration(records, self.size)
        # as things stood at this rung, also when a resumed run looks back at it
        live = [c for c, rs in mine.items()
                if str(c) not in self.pruned and not all(r.ended and r.epochs <= rung for r in rs.values())]
        errors = {c: float(np.mean([r.at("validation_error", rung) for r in mine[c].values()])) for c in live}
        ranked = sorted(live, key=lambda c: (errors[c] if math.isfinite(errors[c]) else math.inf, c))
        share = self.keep if rung > 1 else 1.0  # after one epoch only the clock may say no
        stay = set(ranked[: max(1, math.ceil(share * len(ranked)))]) | (set(self.protected) & set(live))
        self._pace.work += (rung - self._pace.rung) * len(live)
        self._pace.rung = rung
        if self.deadline is not None and len(stay) > (most := self._pace.affords(self.deadline, self.epochs)):
            first = [c for c in self.protected[:1] if c in stay]
            stay = set((first + [c for c in ranked if c in stay and c not in first])[:most])
        self.pruned.update({str(c): rung for c in live if c not in stay})
        return [n for c in live if c in stay for n in mine[c]]


class Trainer:
    """Binds the engine to a run directory, so that every job is done once.

    Args:
        pool: the processes.
        run: where results and checkpoints are kept.
        problem: with the folds that choices are made on.
        divided_anew: the same problem with the rows divided into other folds, by number.
        scorer: of the judged rows: the folds' validation rows, one after the other.
        scale: (mean, std) of a regression target; outputs become values in its own unit.
        seed: of everything.
        key: tells the problem from others that the pool has seen.
    """

    def __init__(self, pool: Pool, run: RunDirectory, problem: AnyProblem, divided_anew: Callable[[int], AnyProblem],
                 scorer: Scorer, scale: tuple[float, float] | None, seed: int, key: str = "choose"):
        self.key = key
        self.pool, self.run, self.problem, self.scorer, self.scale, self.seed = pool, run, problem, scorer, scale, seed
        self._divided_anew = divided_anew
        self.on_progress: Callable[[Progress], None] | None = None
        self.member_epochs = 0

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Network outputs as probabilities or as values in the target's unit."""
        if self.scale is not None:
            return outputs * np.float32(self.scale[1]) + np.float32(self.scale[0])
        return softmax(outputs).astype(np.float32)

    # ---- choosing

    def evaluate(self, job: str, configurations: Sequence[Configuration], seeds: Sequence[int] = (0,), *,
                 rungs: Sequence[int] = (), keep: float = 1.0, protected: Sequence[int] = (),
                 deadline: float | None = None) -> list[list[Outcome]]:
        """Train every configuration on every fold with every seed: one list of outcomes (a seed each) per configuration.

        Every seed but 0 divides the rows anew, so that what was chosen on one division is not judged on the same again; outcomes
        hold the rows in the order of the first. With one seed, the share ``keep`` goes on after each rung (see
        :class:`_Halving`). A finished job is read from the run directory.
        """
        folds = len(self.problem.folds)
        members = {seed: {c * folds + f: Member(configuration.recipe, configuration.learning_rate,
                                                self.seed + _SEED_STRIDE * seed, f)
                          for c, configuration in enumerate(configurations) for f in range(folds)} for seed in seeds}
        if rungs and len(seeds) > 1:
            raise ValueError("with several seeds nobody is left behind")
        problems = {seed: self._divided(seed) for seed in seeds}

        def work(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
            halving = _Halving(folds, keep, protected, deadline, self.problem.epochs)
            meta: dict[str, Any] = {"seeds": {}}
            arrays: dict[str, np.ndarray] = {}
            for seed, problem in problems.items():
                key = self.key if problem is self.problem else f"{self.key}-{seed}"
                records = self.pool.train(key, problem, members[seed], rungs=rungs, choose=halving if rungs else None,
                                          deadline=deadline, folder=folder / str(seed), progress=self.on_progress)
                for first in range(0, len(records), folds):
                    _judge_elsewhere([records[first + f] for f in range(folds)])
                meta["seeds"][str(seed)], own = _pack(records)
                arrays |= {f"{seed}/{name}": value for name, value in own.items()}
            return {**meta, "pruned": halving.pruned}, arrays

        everyone = dict(enumerate(m for own in members.values() for m in own.values()))
        meta, arrays = self._once(job, everyone, work)
        outcomes: list[list[Outcome]] = [[] for _ in configurations]
        for seed, problem in problems.items():
            own = {name.split("/", 1)[1]: value for name, value in arrays.items() if name.startswith(f"{seed}/")}
            records, order = _unpack(meta["seeds"][str(seed)], own), _order(self.problem, problem)
            for c, configuration in enumerate(configurations):
                mine = [records[c * folds + f] for f in range(folds)]
                outcomes[c].append(self._outcome(configuration, seed, meta["pruned"].get(str(c)), mine, order))
        return outcomes

    def _divided(self, seed: int) -> AnyProblem:
        return self.problem if seed == 0 or len(self.problem.folds) < 2 else self._divided_anew(seed)

    def screen(self, job: str, configurations: Sequence[Configuration], part: int, *, rungs: Sequence[int], keep: float,
               deadline: float | None = None) -> list[Screened]:
        """A first look at many configurations: one fold (``part``), thinned at every rung. Errors are those of that fold alone."""
        members = {c: Member(configuration.recipe, configuration.learning_rate, self.seed, part)
                   for c, configuration in enumerate(configurations)}

        def work(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
            halving = _Halving(1, keep, (), deadline, self.problem.epochs)
            records = self.pool.train(self.key, self.problem, members, rungs=rungs, choose=halving, deadline=deadline,
                                      folder=folder, progress=self.on_progress)
            reached = [(r, halving.pruned.get(str(c), r.epochs)) for c, r in sorted(records.items())]
            return {"looks": [(r.at("validation_error", e or None), r.at("validation_loss", e or None), e, r.ended)
                              for r, e in reached]}, {}

        looks = self._once(job, members, work)[0]["looks"]
        return [Screened(configuration, part, self._in_unit(_number_or_nan(error)), _number_or_nan(loss), int(epochs), bool(ended))
                for configuration, (error, loss, epochs, ended) in zip(configurations, looks, strict=True)]

    def _outcome(self, configuration: Configuration, seed: int, pruned_at: int | None, records: list[Record],
                 order: np.ndarray) -> Outcome:
        history = mean_history([r.history for r in records], [r.ended for r in records])
        if pruned_at is not None:
            error = float(np.mean([r.at("validation_error", pruned_at) for r in records]))
            loss = float(np.mean([r.at("validation_loss", pruned_at) for r in records]))
            merit = error + 0.5 * loss if self.scorer.metric in ("balanced_accuracy", "accuracy") else self._in_unit(error)
            return Outcome(configuration, seed, self._in_unit(error), merit, history=history, pruned_at=pruned_at, finished=True)
        if not all(r.ended for r in records):
            return Outcome(configuration, seed, history=history)
        predictions = self.predictions(np.concatenate([r.outputs for r in records])[order])  # type: ignore[list-item]
        rows = self.scorer.rows(predictions)
        error = self.scorer.error(rows) if np.isfinite(predictions).all() else math.nan
        merit = self.scorer.merit(predictions) if math.isfinite(error) else math.nan
        epochs = float(np.mean([r.best_epoch for r in records]))
        return Outcome(configuration, seed, error, merit, predictions, rows, epochs, history, finished=True)

    def _in_unit(self, error: float) -> float:
        return error * self.scale[1] if self.scale is not None and self.scorer.metric == "rmse" else error

    # ---- refitting

    def refit(self, job: str, problem: AnyProblem, wanted: Sequence[tuple[Configuration, int, int | None]],
              test_rows: torch.Tensor, deadline: float | None = None) -> list[Fit]:
        """Train (configuration, seed, epochs) on all development rows and predict the test rows."""
        members = {n: Member(c.recipe.without("early_stopping"), c.learning_rate, self.seed + _SEED_STRIDE * seed, 0, epochs)
                   for n, (c, seed, epochs) in enumerate(wanted)}

        def work(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
            return _pack(self.pool.train("refit", problem, members, wants=Wants(weights=True, extra_rows=test_rows),
                                         deadline=deadline, folder=folder, progress=self.on_progress))

        records = _unpack(*self._once(job, members, work))
        out = []
        for n, (configuration, seed, _) in enumerate(wanted):
            record = records[n]
            fit = Fit(configuration, seed)
            if record.ended and record.extra is not None and np.isfinite(record.extra).all():
                fit.predictions, fit.weights = self.predictions(record.extra), record.weights
                fit.train_error = self._in_unit(record.at("train_error"))
            out.append(fit)
        return out

    def _once(self, job: str, members: Mapping[int, Member],
              work: Callable[[Path], tuple[dict[str, Any], dict[str, np.ndarray]]]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A job's result: the one on file if it trained these very members, else that of ``work``, given a folder for checkpoints.

        After an interrupt a job may be planned anew, with other members.
        """
        stamp = _stamp(members)
        known = self.run.load_job(job)
        if known is None or known[0].get("members") != stamp:
            before = self.pool.member_epochs
            meta, arrays = work(self.run.job_folder(job) / stamp)
            known = ({**meta, "member_epochs": self.pool.member_epochs - before, "members": stamp}, arrays)
            self.run.save_job(job, *known)
        self.member_epochs += known[0]["member_epochs"]
        return known


def _number_or_nan(value: float | None) -> float:
    """JSON has no nan: it comes back as None."""
    return math.nan if value is None else float(value)


def _stamp(members: Mapping[int, Member]) -> str:
    """Tells one set of members from another, the same in every process."""
    described = [(_LAYOUT, n, m.recipe.to_mapping(), m.learning_rate, m.seed, m.fold, m.epochs) for n, m in sorted(members.items())]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _order(first: AnyProblem, other: AnyProblem) -> np.ndarray:
    """Where the rows judged by one division are found among those of another."""
    wanted, judged = (torch.cat([f.validation for f in p.folds]).numpy() for p in (first, other))
    where = np.argsort(judged)
    return where[np.searchsorted(judged, wanted, sorter=where)]


def _by_configuration(records: Mapping[int, Record], size: int) -> dict[int, dict[int, Record]]:
    out: dict[int, dict[int, Record]] = {}
    for number in sorted(records):
        out.setdefault(number // size, {})[number] = records[number]
    return out


def _judge_elsewhere(records: Sequence[Record]) -> None:
    """Judge each fold of a configuration that stops early at the epoch its *other* folds chose.

    At the epoch chosen on the very rows that judge it, early stopping would look better than it is; a refit, too, stops at an
    epoch that was chosen elsewhere.
    """
    if len(records) < 2 or any(r.trail is None or not r.ended for r in records):
        return
    for f, record in enumerate(records):
        assert record.trail is not None
        others = [r.best_epoch for n, r in enumerate(records) if n != f]
        record.outputs = record.trail[min(max(1, round(float(np.mean(others)))), len(record.trail)) - 1]


def _pack(records: Mapping[int, Record]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    meta: dict[str, Any] = {"records": {}}
    arrays: dict[str, np.ndarray] = {}
    for number, r in records.items():
        meta["records"][str(number)] = {"best_epoch": r.best_epoch, "ended": r.ended, "epochs": r.epochs}
        arrays[f"{number}/history"] = np.array([r.history[n] for n in MetricNames], dtype=np.float64)
        for name, value in (("outputs", r.outputs), ("extra", r.extra)):
            if value is not None:
                arrays[f"{number}/{name}"] = value
        for name, value in (r.weights or {}).items():
            arrays[f"{number}/weights/{name}"] = value
    return meta, arrays


def _unpack(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[int, Record]:
    out: dict[int, Record] = {}
    for key, row in meta["records"].items():
        history = arrays[f"{key}/history"]
        out[int(key)] = Record({n: history[i].tolist() for i, n in enumerate(MetricNames)}, row["best_epoch"], row["ended"],
                               arrays.get(f"{key}/outputs"), arrays.get(f"{key}/extra"))
    for name, value in arrays.items():
        number, kind, *rest = name.split("/", 2)
        if kind == "weights":
            record = out[int(number)]
            record.weights = {**(record.weights or {}), rest[0]: value}
    return out

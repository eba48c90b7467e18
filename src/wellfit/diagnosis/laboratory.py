"""Trains variants of a case and keeps what each of them predicts for every row."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from wellfit.core.recipe import Recipe
from wellfit.diagnosis.case import Case
from wellfit.diagnosis.contributions import Contributions
from wellfit.population.pool import Pool
from wellfit.population.problem import Member, Problem
from wellfit.population.train import Record, Wants, mean_history
from wellfit.search.score import softmax
from wellfit.search.settings import Settings

_SEED_STRIDE = 7919
_A_STEP = 4000.0


@dataclass(frozen=True)
class Variant:
    """The case with something changed.

    Attributes:
        name: what it is called.
        recipe, learning_rate: how it is trained.
        hidden: other widths.
        epochs: another length of training.
        share, part: of every fold's training rows only this share, and of the disjoint parts of that size the one with this number.
        shuffled: with the targets of all rows exchanged at random.
    """

    name: str
    recipe: Recipe
    learning_rate: float
    hidden: tuple[int, ...] | None = None
    epochs: int | None = None
    share: float = 1.0
    part: int = 0
    shuffled: bool = False


@dataclass
class Outcome:
    """What training a variant gave, one entry of the first axis per seed.

    Attributes:
        judged: (S, n, C) predictions for the rows that folds validate on.
        learned: (S, n_development, C) mean prediction for every development row by the networks that learned from it; nan where
            none did.
        tests: (S·F, n_test, C) predictions of every network for the test rows; None when not asked for.
        history: per epoch, the mean over seeds and folds.
        histories: the same for every seed and fold.
        weights: of the first network, when asked for.
    """

    variant: Variant
    seeds: list[int] = field(default_factory=list)
    judged: np.ndarray = field(default_factory=lambda: np.zeros(0))
    learned: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tests: np.ndarray | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    histories: list[dict[str, list[float]]] = field(default_factory=list)
    weights: dict[str, np.ndarray] | None = None
    best_epoch: float = 0.0

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.judged).all())


class Laboratory:
    """Trains variants on the folds of a case.

    Args:
        case: what is diagnosed.
        pool: trains.
        progress: is told the share done of each job.
    """

    def __init__(self, case: Case, pool: Pool, progress: Callable[[str], None] = lambda what: None):
        self.case, self.pool, self.progress = case, pool, progress
        self.development = np.sort(case.prepared.split.development)
        self.judged = case.judged
        self.trainings = 0
        self.contributions = Contributions.of(case.prepared, self.judged)
        self.on_training = Contributions.of(case.prepared, self.development)
        self.outcomes: dict[str, Outcome] = {}
        self._unit: float | None = None  # seconds of one training of the case on one fold, on all cores together
        self._rows = float(np.mean([len(train) for train, _ in case.folds]))

    # ---- variants

    def variant(self, name: str, **changes: Any) -> Variant:
        """The case with these changes."""
        return Variant(**{"name": name, "recipe": self.case.recipe, "learning_rate": self.case.learning_rate, **changes})

    def cost(self, variant: Variant, seeds: int = 1) -> float:
        """Trainings of the case that a variant's work is worth."""
        wide = 1.0
        if variant.hidden is not None:
            wide = max(0.2, _work(variant.hidden) / _work(self.case.settings.hidden or variant.hidden))
        return seeds * len(self.case.folds) * wide * (self._epochs(variant) / self.case.settings.epochs) * max(variant.share, 0.1)

    def seconds(self, variants: Sequence[Variant], seeds: int = 1) -> float:
        """What they are expected to take."""
        return (self._unit or 0.0) * sum(self.cost(v, seeds) for v in variants)

    # ---- training

    def train(self, variants: Sequence[Variant], seeds: Sequence[int] = (0,), *, tests: bool = False, weights: bool = False
              ) -> dict[str, Outcome]:
        """Train variants with these seeds; outcomes of a variant that was trained before grow by the new seeds."""
        begun, work = time.monotonic(), sum(self.cost(v, len(seeds)) for v in variants)
        problems: dict[tuple[Any, ...], list[Variant]] = {}
        for variant in variants:
            problems.setdefault((variant.hidden, self._epochs(variant), variant.share, variant.part, variant.shuffled), []
                                ).append(variant)
        for (hidden, epochs, *_), some in problems.items():
            self._train_alike(some, seeds, hidden, epochs, tests, weights)
        self.trainings += len(variants) * len(seeds) * len(self.case.folds)
        taken = time.monotonic() - begun
        self._unit = max(taken / work, 1e-4) if self._unit is None else 0.5 * (self._unit + max(taken / work, 1e-4))
        return {v.name: self.outcomes[v.name] for v in variants}

    def _train_alike(self, variants: Sequence[Variant], seeds: Sequence[int], hidden: tuple[int, ...] | None, epochs: int,
                     tests: bool, weights: bool) -> None:
        first = variants[0]
        settings = self._settings(hidden, epochs)
        folds = self._folds(first)
        problem = self.case.prepared.problem(settings, folds)
        if first.shuffled:
            if not isinstance(problem, Problem):
                return
            order = np.random.default_rng(self.case.seed).permutation(len(self.development))
            targets = problem.targets.clone()
            targets[self.development] = problem.targets[self.development[order]]
            problem = replace(problem, targets=targets)
        count = len(folds)
        extra = np.concatenate([self.development, self.case.prepared.split.test]) if tests else self.development
        members = {(v * len(seeds) + s) * count + f:
                   Member(variant.recipe, variant.learning_rate, self.case.seed + _SEED_STRIDE * seed, f)
                   for v, variant in enumerate(variants) for s, seed in enumerate(seeds) for f in range(count)}
        key = f"{hidden}/{epochs}/{first.share}/{first.part}/{first.shuffled}"
        self.progress(first.name if len(variants) == 1 else f"{first.name} and {len(variants) - 1} more")
        records = self.pool.train(key, problem, members, wants=Wants(weights=weights, extra_rows=torch.from_numpy(extra)))
        for v, variant in enumerate(variants):
            for s, seed in enumerate(seeds):
                start = (v * len(seeds) + s) * count
                self._keep(variant, seed, [records[start + f] for f in range(count)], folds, tests)

    def _keep(self, variant: Variant, seed: int, records: list[Record], folds: Sequence[tuple[np.ndarray, np.ndarray]],
              tests: bool) -> None:
        outcome = self.outcomes.setdefault(variant.name, Outcome(variant))
        if seed in outcome.seeds:
            return
        judged = np.concatenate([self._predictions(r.outputs) for r in records])
        size = len(self.development)
        total = np.zeros((size, judged.shape[1]))
        seen = np.zeros(size)
        for record, (train, _) in zip(records, folds, strict=True):
            rows = np.searchsorted(self.development, train)
            total[rows] += self._predictions(record.extra)[rows]
            seen[rows] += 1
        with np.errstate(invalid="ignore", divide="ignore"):
            learned = total / seen[:, None]
        outcome.judged = judged[None] if not outcome.seeds else np.concatenate([outcome.judged, judged[None]])
        outcome.learned = learned[None] if not outcome.seeds else np.concatenate([outcome.learned, learned[None]])
        if tests:
            test = np.stack([self._predictions(r.extra)[size:] for r in records])
            outcome.tests = test if outcome.tests is None else np.concatenate([outcome.tests, test])
        outcome.seeds.append(seed)
        outcome.histories += [r.history for r in records]
        outcome.history = mean_history(outcome.histories)
        outcome.best_epoch = float(np.mean([r.best_epoch for r in records]))
        if outcome.weights is None:
            outcome.weights = records[0].weights

    def _predictions(self, outputs: np.ndarray | None) -> np.ndarray:
        assert outputs is not None
        scale = self.case.prepared.scale
        if scale is not None:
            return outputs.astype(np.float64) * scale[1] + scale[0]
        return softmax(outputs.astype(np.float64))

    def _epochs(self, variant: Variant) -> int:
        if variant.epochs is not None:
            return variant.epochs
        # fewer rows make fewer steps an epoch: the number of steps stays, or a short training would look like scarce data
        return max(1, round(self.case.settings.epochs / max(variant.share, 1e-9)))

    def _settings(self, hidden: tuple[int, ...] | None, epochs: int) -> Settings:
        own = self.case.settings
        return replace(own, epochs=epochs, hidden=own.hidden if hidden is None else hidden)

    def _folds(self, variant: Variant) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        if variant.share >= 1:
            return tuple(self.case.folds)
        return tuple((self._portion(train, variant.share, variant.part, number), validation)
                     for number, (train, validation) in enumerate(self.case.folds))

    def _portion(self, rows: np.ndarray, share: float, part: int, fold: int) -> np.ndarray:
        """One of the disjoint parts of the rows: classes in proportion. Parts of a half are made of the parts of its halves."""
        rng = np.random.default_rng((self.case.seed, fold))
        order = rng.permutation(rows)
        if self.case.prepared.classes:
            order = order[np.argsort(self.case.prepared.scorer(order).y, kind="stable")]
        count = max(1, round(1 / share))
        return np.sort(order[part % count::count])


def _work(hidden: Sequence[int]) -> float:
    """Products of a step, roughly, with what a step costs whatever it multiplies."""
    return float(sum(a * b for a, b in zip(hidden, hidden[1:], strict=False)) + 64 * hidden[0] + _A_STEP)

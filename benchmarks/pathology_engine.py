"""Trainings behind ``pathologies.py``: a set-up on a table, judged by its predictions of other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from pathology_data import TARGET

import wellfit as wf
from wellfit.data import load_table
from wellfit.population.pool import Pool
from wellfit.population.problem import Member
from wellfit.population.train import Wants
from wellfit.search.prepare import PreparedTable, prepare
from wellfit.search.score import softmax
from wellfit.search.settings import Settings

TRAINED = 3  # trainings of each set-up, with other starts and orders
_SCARCE = 8.0  # as in wellfit.search.score: rare classes count, but no single row decides
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 9.0)


@dataclass(frozen=True)
class SetUp:
    """How a network is trained: what a diagnosis is told beside the data."""

    hidden: tuple[int, ...] = (64, 64)
    recipe: wf.Recipe = field(default_factory=wf.Recipe)
    learning_rate: float = 1e-3
    epochs: int | None = None
    batch_size: int | None = None

    def to_mapping(self) -> dict[str, Any]:
        return {"hidden": list(self.hidden), "recipe": self.recipe.to_mapping(), "learning_rate": self.learning_rate,
                "epochs": self.epochs, "batch_size": self.batch_size}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> SetUp:
        return cls(**{**mapping, "hidden": tuple(mapping["hidden"]), "recipe": wf.Recipe.from_mapping(mapping["recipe"])})

    def widths_times(self, factor: float) -> SetUp:
        return replace(self, hidden=tuple(max(1, round(w * factor)) for w in self.hidden))

    def rate_times(self, factor: float) -> SetUp:
        return replace(self, learning_rate=self.learning_rate * factor)


@dataclass(frozen=True)
class Rows:
    """What each judged row contributes to the merit: (trainings, rows). The merit is their sum, or its root for a regression.

    With classes it is the balanced error plus half of the log loss at the best temperature, as :meth:`Scorer.merit` has it: what
    ``wf.tune`` chooses by. Of a number to predict it is the RMSE in units of the target's standard deviation.
    """

    values: np.ndarray
    regression: bool
    clusters: np.ndarray | None = None

    @property
    def merit(self) -> float:
        total = self.values.mean(0).sum()
        return float(np.sqrt(total)) if self.regression else float(total)

    def spread(self, values: np.ndarray) -> float:
        """Standard error of the sum of (n,) values; rows of one cluster count as one."""
        deviations = values - values.mean()
        if self.clusters is not None:
            deviations = np.bincount(self.clusters, deviations)
        return float(np.sqrt((deviations ** 2).sum()))

    def gain_over(self, other: Rows) -> tuple[float, float]:
        """How much smaller this merit is than another's on the same rows, with its standard error over rows and trainings."""
        difference = (other.values.mean(0) - self.values.mean(0))
        error = self.spread(difference)
        between = other.values.sum(1)[:len(self.values)] - self.values.sum(1)[:len(other.values)]
        if len(between) > 1:
            error = float(np.hypot(error, between.std(ddof=1) / np.sqrt(len(between))))
        scale = 1 / max(self.merit + other.merit, 1e-9) if self.regression else 1.0
        return other.merit - self.merit, error * scale

    def below(self, other: Rows) -> tuple[float, float]:
        """The same for merits on different rows."""
        mine, theirs = (r.spread(r.values.mean(0)) / (2 * max(r.merit, 1e-9) if self.regression else 1.0) for r in (self, other))
        return other.merit - self.merit, float(np.hypot(mine, theirs))


def settings_for(set_up: SetUp, rows: int, columns: int) -> Settings:
    return Settings.for_size(rows, columns, hidden=set_up.hidden, epochs=set_up.epochs, batch_size=set_up.batch_size)


def prepared_for(train: pd.DataFrame, judged: pd.DataFrame) -> PreparedTable:
    table = load_table(train, TARGET, test=judged)
    return prepare(table, seed=0, folds=1, metric=None, weighting=None, encoding="plain")


class Engine:
    """Trains set-ups side by side."""

    def __init__(self, pool: Pool):
        self.pool = pool

    def judged(self, train: pd.DataFrame, judged: pd.DataFrame, set_ups: Mapping[str, SetUp], *, trainings: int = TRAINED,
               clusters: Sequence[Any] | None = None) -> dict[str, Rows]:
        """Train every set-up on all rows of one table and judge it on another's."""
        prepared = prepared_for(train, judged)
        split = prepared.split
        judge = _Judge(prepared, split.test, clusters)
        return self._trained(prepared, split.development, split.test, set_ups, trainings, judge)

    def crossed(self, frame: pd.DataFrame, set_ups: Mapping[str, SetUp], *, folds: int = 3, seed: int = 0) -> dict[str, Rows]:
        """Cross-validated on the rows of one table."""
        rng = np.random.default_rng([seed, 53])
        place = rng.permutation(len(frame)) % folds
        parts: dict[str, list[np.ndarray]] = {name: [] for name in set_ups}
        regression = False
        for fold in range(folds):
            prepared = prepared_for(frame[place != fold].reset_index(drop=True), frame[place == fold].reset_index(drop=True))
            split = prepared.split
            regression = not prepared.classes
            judge = _Judge(prepared, split.test, None)
            for name, rows in self._trained(prepared, split.development, split.test, set_ups, 1, judge).items():
                parts[name].append(rows.values / folds)
        return {name: Rows(np.concatenate(found, axis=1), regression) for name, found in parts.items()}

    def _trained(self, prepared: PreparedTable, learned: np.ndarray, judged: np.ndarray, set_ups: Mapping[str, SetUp],
                 trainings: int, judge: _Judge) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        alike: dict[tuple[Any, ...], list[str]] = {}
        for name, set_up in set_ups.items():
            alike.setdefault((set_up.hidden, set_up.epochs, set_up.batch_size), []).append(name)
        empty = np.zeros(0, dtype=np.int64)
        for key, names in alike.items():
            settings = settings_for(set_ups[names[0]], len(learned), prepared.inputs.shape[1])
            problem = prepared.problem(settings, ((learned, empty),))
            members = {i * trainings + t: Member(set_ups[n].recipe, set_ups[n].learning_rate, 1000 * t)
                       for i, n in enumerate(names) for t in range(trainings)}
            records = self.pool.train(repr(key), problem, members, wants=Wants(extra_rows=torch.from_numpy(judged)))
            for i, name in enumerate(names):
                outputs = [records[i * trainings + t].extra for t in range(trainings)]
                found[name] = judge([o for o in outputs if o is not None])
        return found


class _Judge:
    """What each of some rows contributes to the merit."""

    def __init__(self, prepared: PreparedTable, rows: np.ndarray, clusters: Sequence[Any] | None):
        self.scorer = prepared.scorer(rows)
        self.scale = prepared.scale
        self.clusters = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
        y = self.scorer.y
        if self.scale is None:
            weights = 1.0 / (_SCARCE + np.bincount(y, minlength=self.scorer.classes)[y])
            self.weights = weights / weights.sum()
        else:
            self.weights = np.full(len(y), 1.0 / len(y) / self.scale[1] ** 2)

    def __call__(self, outputs: Sequence[np.ndarray]) -> Rows:
        return Rows(np.stack([self._contributions(np.nan_to_num(o, posinf=1e6, neginf=-1e6)) for o in outputs]),
                    self.scale is not None, self.clusters)

    def _contributions(self, outputs: np.ndarray) -> np.ndarray:
        y = self.scorer.y
        if self.scale is not None:
            return self.weights * (outputs[:, 0].astype(np.float64) * self.scale[1] + self.scale[0] - y) ** 2
        wrong = (outputs.argmax(1) != y).astype(np.float64)
        logits = np.log(np.clip(softmax(outputs.astype(np.float64)), 1e-12, 1.0))
        losses = []
        for temperature in _TEMPERATURES:
            scaled = logits / temperature
            losses.append(np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1)
                          - scaled[np.arange(len(y)), y])
        best = min(losses, key=lambda loss: float(self.weights @ loss))
        return self.weights * (wrong + 0.5 * best)

"""From a table to a problem: split, preprocessing, tensors, objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.schedule import Cosine
from wellfit.data import Note, Preprocessor, Split, Table, TargetCoder, find_leaks, make_split
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Objective, Problem, class_weights
from wellfit.search.score import METRICS, Scorer
from wellfit.search.settings import Settings

CLASS_WEIGHTS = ("balanced", "none")


@dataclass(frozen=True)
class Prepared:
    """A table made ready for one search."""

    table: Table
    split: Split
    notes: tuple[Note, ...]
    preprocessor: Preprocessor
    coder: TargetCoder
    inputs: np.ndarray
    targets: np.ndarray
    metric: str
    weighting: str
    encoding: str = "plain"
    engine: str = "auto"

    @property
    def classes(self) -> int:
        """Number of classes, 0 for regression."""
        return len(self.table.classes) if self.table.classes is not None else 0

    @property
    def scale(self) -> tuple[float, float] | None:
        return None if self.classes else (self.coder.mean, self.coder.std)

    def scorer(self, rows: np.ndarray) -> Scorer:
        """Scores predictions of these rows, in the target's own unit."""
        return Scorer(self.metric, self.table.y[rows], self.classes)

    def problem(self, settings: Settings, folds: tuple[tuple[np.ndarray, np.ndarray], ...]) -> Problem:
        """What the engine trains: these folds of row numbers."""
        regression = not self.classes
        weights = None if regression else class_weights(self.table.y[self.split.development], self.classes, self.weighting)
        return Problem(
            network=NetworkSpec(self.inputs.shape[1], settings.hidden, self.classes or 1, settings.activation),
            inputs=torch.from_numpy(self.inputs), targets=torch.from_numpy(self.targets),
            folds=tuple(Fold(torch.from_numpy(a), torch.from_numpy(b)) for a, b in folds),
            objective=Objective(self.table.task, self.metric, weights), epochs=settings.epochs, batch_size=settings.batch_size,
            rate_schedule=Cosine(1.0, 0.0), feature_groups=torch.from_numpy(np.asarray(self.preprocessor.groups, dtype=np.int64)),
            engine=self.engine)


def prepare(table: Table, *, seed: int, folds: int | None, metric: str | None, weighting: str | None,
            encoding: str) -> Prepared:
    """Split the rows, fit the preprocessing on the development rows (never on test rows, never on the target)."""
    metric = check_metric(metric, table.task)
    if weighting is not None and weighting not in CLASS_WEIGHTS:
        raise WellfitError("Unknown class weighting.", received=repr(weighting), expected=" or ".join(CLASS_WEIGHTS))
    split = make_split(table, seed=seed, folds=folds if folds and folds > 1 else None)
    preprocessor = Preprocessor.fit(table, split.development, encoding=encoding)
    inputs = preprocessor.transform(table.frame)
    if inputs.shape[1] == 0:
        raise WellfitError("No usable feature is left.", received=f"{len(table.columns)} columns, all ignored",
                           expected="at least one column that varies", action="look at the notes on the columns")
    coder = TargetCoder.fit(table, split.development)
    chosen = "none" if table.task == "regression" else weighting or ("balanced" if metric == "balanced_accuracy" else "none")
    notes = (*table.notes, *find_leaks(table, split, seed=seed))
    return Prepared(table, split, notes, preprocessor, coder, inputs, coder.encode(table.y), metric, chosen, encoding)


def check_metric(metric: str | None, task: str) -> str:
    """The metric to use; each task's first one is its default."""
    if metric is None:
        return METRICS[task][0]
    if metric not in METRICS[task]:
        hint = nearest(metric, METRICS[task])
        raise WellfitError(f"This metric does not fit a {task} task.", received=repr(metric), expected=", ".join(METRICS[task]),
                           action=f"did you mean {hint}?" if hint else None)
    return metric


def with_folds(prepared: Prepared, seed: int, folds: int) -> Prepared:
    """The same test rows with another number of folds."""
    return replace(prepared, split=make_split(prepared.table, seed=seed, folds=folds if folds > 1 else None))


def with_encoding(prepared: Prepared, encoding: str) -> Prepared:
    """The same rows with numbers encoded in another way."""
    preprocessor = Preprocessor.fit(prepared.table, prepared.split.development, encoding=encoding)
    return replace(prepared, preprocessor=preprocessor, inputs=preprocessor.transform(prepared.table.frame), encoding=encoding)


def describe_data(prepared: Prepared) -> dict[str, Any]:
    """What run.json keeps of the data."""
    table = prepared.table
    return {"name": table.name, "target": table.target, "task": table.task, "rows": len(table), "inputs": prepared.inputs.shape[1],
            "sha256": table.fingerprint.get("sha256"), "classes": list(table.class_names) if table.class_names else None,
            "columns": [{"name": c.name, "kind": c.kind, "reason": c.reason, "missing": c.n_missing, "unique": c.n_unique}
                        for c in table.columns],
            "notes": [{"level": n.level, "code": n.code, "message": n.message} for n in prepared.notes]}

"""A table as the subject of a search: split, preprocessing, tensors, objective, models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.schedule import Cosine
from wellfit.data import Note, Preprocessor, Split, Table, TargetCoder, find_leaks, make_split, other_folds
from wellfit.population.inference import Network, save_networks
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Objective, Problem, class_weights
from wellfit.population.tiers import describe_tiers
from wellfit.search import evidence
from wellfit.search.baseline import linear_predictions
from wellfit.search.facts import table_facts
from wellfit.search.menus import Menu, table_menu
from wellfit.search.rundir import FORMAT, RunDirectory, write_atomically
from wellfit.search.score import METRICS, Scorer
from wellfit.search.settings import Settings
from wellfit.search.subject import Folds
from wellfit.search.trainer import Fit, Trainer

CLASS_WEIGHTS = ("balanced", "none")


@dataclass(frozen=True, repr=False)
class PreparedTable:
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

    device: str = "cpu"

    def __repr__(self) -> str:
        return repr(self.table)

    def engines(self) -> dict[str, str]:
        return describe_tiers(self.engine, self.device)

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def target(self) -> str:
        return self.table.target

    @property
    def task(self) -> str:
        return self.table.task

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
            network=self.spec(settings),
            inputs=torch.from_numpy(self.inputs), targets=torch.from_numpy(self.targets),
            folds=tuple(Fold(torch.from_numpy(a), torch.from_numpy(b)) for a, b in folds),
            objective=Objective(self.table.task, self.metric, weights), epochs=settings.epochs, batch_size=settings.batch_size,
            rate_schedule=Cosine(1.0, 0.0), feature_groups=torch.from_numpy(np.asarray(self.preprocessor.groups, dtype=np.int64)),
            engine=self.engine, device=self.device)


    def with_folds(self, seed: int, folds: int) -> PreparedTable:
        """The same test rows with another number of folds."""
        return replace(self, split=make_split(self.table, seed=seed, folds=folds if folds > 1 else None))

    def other_folds(self, seed: int) -> Folds:
        """The development rows divided anew into as many folds."""
        return other_folds(self.table, self.split, seed)

    def with_encoding(self, encoding: str) -> PreparedTable:
        """The same rows with numbers encoded in another way."""
        preprocessor = Preprocessor.fit(self.table, self.split.development, encoding=encoding)
        return replace(self, preprocessor=preprocessor, inputs=preprocessor.transform(self.table.frame), encoding=encoding)

    def menu(self, settings: Settings) -> Menu:
        keeps_width = any(a == b for a, b in zip(settings.hidden, settings.hidden[1:], strict=False))
        return table_menu(regression=not self.classes, keeps_width=keeps_width)

    def describe(self) -> dict[str, Any]:
        """What run.json keeps of the data."""
        table = self.table
        return {"name": table.name, "target": table.target, "task": table.task, "rows": len(table), "inputs": self.inputs.shape[1],
                "encoding": self.encoding,
                "sha256": table.fingerprint.get("sha256"), "classes": list(table.class_names) if table.class_names else None,
                "columns": [{"name": c.name, "kind": c.kind, "reason": c.reason, "missing": c.n_missing, "unique": c.n_unique}
                            for c in table.columns],
                "notes": [{"level": n.level, "code": n.code, "message": n.message} for n in self.notes]}

    def facts(self, settings: Settings) -> list[tuple[str, str]]:
        return table_facts(self, settings)

    # ---- the network

    def spec(self, settings: Settings) -> NetworkSpec:
        return NetworkSpec(self.inputs.shape[1], settings.hidden, self.classes or 1, settings.activation)

    def network(self, settings: Settings) -> dict[str, Any]:
        return {"inputs": self.inputs.shape[1], "hidden": list(settings.hidden), "outputs": self.classes or 1,
                "activation": settings.activation}

    def parameters(self, settings: Settings) -> int:
        return self.spec(settings).parameters

    def baseline(self, seed: int) -> np.ndarray | None:
        """Test predictions of a linear model."""
        return linear_predictions(self.inputs, self.table.y, self.split.development, self.split.test, classes=self.classes,
                                  balanced=self.weighting == "balanced", seed=seed)

    def trained(self, settings: Settings, fit: Fit) -> Network:
        """The network of a fit."""
        assert fit.weights is not None
        return Network(self.spec(settings), fit.weights, "skip_connections" in fit.configuration.recipe)

    def save(self, run: RunDirectory, settings: Settings, best: Fit | None, ensemble: Sequence[tuple[Fit, float]]) -> None:
        preprocess = {"format": FORMAT, "features": self.preprocessor.to_dict(), "target": self.coder.to_dict()}
        write_atomically(run.file("best/preprocess.json"), json.dumps(preprocess, ensure_ascii=False))
        if best is not None:
            save_networks(run.file("best/model.safetensors"), {"": self.trained(settings, best)})
        if len(ensemble) > 1:
            save_networks(run.file("ensemble/model.safetensors"),
                          {str(n): self.trained(settings, f) for n, (f, _) in enumerate(ensemble)})

    def evidence(self, settings: Settings, fits: Mapping[str, Fit], trainer: Trainer, seed: int) -> dict[str, Any]:
        networks = {name: self.trained(settings, fit) for name, fit in fits.items()}
        first = evidence.weights(networks["unregularized"].matrices())
        return {"weights": {"unregularized": first, "best": evidence.weights(networks["best"].matrices(), first["edges"][-1])},
                "features": evidence.features(networks["best"], self.preprocessor),
                "boundary": evidence.boundary(self.table, self.split.development, self.preprocessor, networks, trainer, seed)}


def prepare(table: Table, *, seed: int, folds: int | None, metric: str | None, weighting: str | None,
            encoding: str) -> PreparedTable:
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
    return PreparedTable(table, split, notes, preprocessor, coder, inputs, coder.encode(table.y), metric, chosen, encoding)


def check_metric(metric: str | None, task: str) -> str:
    """The metric to use; each task's first one is its default."""
    if metric is None:
        return METRICS[task][0]
    if metric not in METRICS[task]:
        hint = nearest(metric, METRICS[task])
        raise WellfitError(f"This metric does not fit a {task} task.", received=repr(metric), expected=", ".join(METRICS[task]),
                           action=f"did you mean {hint}?" if hint else None)
    return metric

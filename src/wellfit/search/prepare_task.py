"""A task as the subject of a search: its examples and their split, a criterion, a menu that fits the network, models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.core.schedule import Cosine
from wellfit.data import Note, Split, make_split, other_folds
from wellfit.kernels.objective import cross_entropy, squared_error
from wellfit.population.modules.problem import Judge, MakeOptimizer, ModuleProblem, adamw
from wellfit.population.modules.rows import Rows
from wellfit.population.modules.save import save_states
from wellfit.population.problem import Fold, class_weights
from wellfit.report.numbers import NAMES, count
from wellfit.search import evidence
from wellfit.search.architecture import Traits
from wellfit.search.menus import Menu
from wellfit.search.network_menus import network_menu
from wellfit.search.rundir import FORMAT, RunDirectory, write_atomically
from wellfit.search.score import Scorer
from wellfit.search.settings import Settings
from wellfit.search.subject import Folds
from wellfit.search.task import Task
from wellfit.search.trainer import Fit, Trainer

_TARGET_CHUNK = 1024


@dataclass(frozen=True)
class Labelled:
    """The targets of all examples, with what a split has to respect (see :func:`wellfit.data.make_split`)."""

    y: np.ndarray
    task: str
    groups: np.ndarray | None
    times: np.ndarray | None
    test_index: np.ndarray | None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, repr=False)
class PreparedTask:
    """A task made ready for one search."""

    source: Task
    rows: Rows
    labelled: Labelled
    fixed: Split | None
    split: Split
    notes: tuple[Note, ...]
    metric: str
    own_metric: bool
    names: tuple[str, ...]
    batch_size: int | None
    traits: Traits
    kind: str
    device: str
    fingerprint: str

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {count(len(self.rows))} examples, {self.task}, {count(self.traits.parameters)} parameters)"

    def engines(self) -> dict[str, str]:
        return {"tier": "modules", "why": "a network of one's own is trained through a plan, one after the other"}

    @property
    def weighting(self) -> str:
        return self.source.class_weights

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def target(self) -> str:
        return "class" if self.names else "target"

    @property
    def task(self) -> str:
        return self.labelled.task

    @property
    def classes(self) -> int:
        return len(self.names)

    @property
    def scale(self) -> tuple[float, float] | None:
        return None if self.names else (0.0, 1.0)

    def scorer(self, rows: np.ndarray) -> Scorer:
        higher = self.source.higher_is_better if callable(self.source.metric) else False
        return Scorer(self.metric, self.labelled.y[rows], self.classes, own=higher if self.own_metric else None)

    def with_folds(self, seed: int, folds: int) -> PreparedTask:
        if self.fixed is not None:
            return self
        return replace(self, split=make_split(self.labelled, seed=seed, folds=folds if folds > 1 else None))

    def other_folds(self, seed: int) -> Folds:
        return self.split.folds if self.fixed is not None else other_folds(self.labelled, self.split, seed)

    # ---- training

    @property
    def _loss(self) -> Any:
        if self.source.loss is not None:
            return self.source.loss
        if not self.names:
            return plain_squared_error
        weights = class_weights(self.labelled.y[self.split.development], self.classes, self.weighting)
        return partial(weighted_cross_entropy, weights)

    @property
    def judge(self) -> Judge:
        rows = self.source.metric if callable(self.source.metric) else None
        return Judge(self.task, self.metric, self._loss, rows, self.source.higher_is_better if rows is not None else False)

    def problem(self, settings: Settings, folds: Folds) -> ModuleProblem:
        task = self.source
        optimizer: MakeOptimizer = task.optimizer or adamw
        return ModuleProblem(
            build=self.build(settings), rows=self.rows,
            folds=tuple(Fold(torch.from_numpy(a), torch.from_numpy(b)) for a, b in folds), judge=self.judge,
            epochs=settings.epochs, batch_size=settings.batch_size, optimizer=optimizer, rate_schedule=Cosine(1.0, 0.0),
            classes=self.classes or None, features=task.features, device=self.device)

    def build(self, settings: Settings) -> Any:
        """The function that makes a network, from a seed."""
        widths = getattr(self.source.build, "with_widths", None)
        return Seedless(self.source.build if widths is None or not settings.hidden else widths(settings.hidden))

    def menu(self, settings: Settings) -> Menu:
        train = min(len(rows) for rows, _ in self.split.folds)
        return network_menu(self.kind, self.traits, self.source.learning_rate, classes=bool(self.names),
                            steps_per_epoch=max(1, train // min(settings.batch_size, train)))

    # ---- words

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "target": self.target, "task": self.task, "rows": len(self.rows), "kind": self.kind,
                "sha256": self.fingerprint, "classes": list(self.names) or None, "columns": [],
                "reference": self.source.reference,
                "notes": [{"level": n.level, "code": n.code, "message": n.message} for n in self.notes]}

    def facts(self, settings: Settings) -> list[tuple[str, str]]:
        split = self.split
        folds = len(split.folds)
        learning = f"{folds}-fold cross-validation" if folds > 1 else f"{count(len(split.validation))} of them for choosing"
        rows = (f"{count(len(self.rows))} {self.kind if self.kind != 'anything' else 'examples'}: "
                f"{count(len(split.development))} to learn from ({learning}), {count(len(split.test))} for the test")
        target = f"{len(self.names)} classes" if self.names else self.task
        length = f"{settings.epochs} epochs of batches of {settings.batch_size}, on {self.device}"
        out = [("target", target), ("examples", rows), ("metric", NAMES.get(self.metric, self.metric)),
               ("network", f"{self.traits.name}, {count(self.traits.parameters)} parameters; {length}")]
        return out + ([("has already", self.traits.existing)] if self.traits.existing else [])

    # ---- the network

    def network(self, settings: Settings) -> dict[str, Any]:
        return {"name": self.traits.name, "reference": self.source.reference, "hidden": list(settings.hidden)}

    def parameters(self, settings: Settings) -> int:
        return sum(p.numel() for p in fresh(self.build(settings)).parameters())

    def baseline(self, seed: int) -> np.ndarray | None:
        return None

    def save(self, run: RunDirectory, settings: Settings, best: Fit | None, ensemble: Sequence[tuple[Fit, float]]) -> None:
        described = {"format": FORMAT, "kind": self.kind, "reference": self.source.reference, "task": self.task,
                     "names": list(self.names), "hidden": list(settings.hidden),
                     **(self.source.build.describe() if hasattr(self.source.build, "describe") else {})}
        write_atomically(run.file("best/preprocess.json"), json.dumps(described, ensure_ascii=False))
        if best is not None and best.weights is not None:
            save_states(run.file("best/model.safetensors"), {"": best.weights})
        held = {str(n): f.weights for n, (f, _) in enumerate(ensemble) if f.weights is not None}
        if len(held) > 1:
            save_states(run.file("ensemble/model.safetensors"), held)

    def evidence(self, settings: Settings, fits: Mapping[str, Fit], trainer: Trainer, seed: int) -> dict[str, Any]:
        weights = {n for n, p in fresh(self.build(settings)).named_parameters() if p.ndim > 1}
        matrices = {name: {n: w for n, w in (fit.weights or {}).items() if n in weights} for name, fit in fits.items()}
        if not all(matrices.values()):
            return {}
        first = evidence.weights(matrices["unregularized"])
        return {"weights": {"unregularized": first, "best": evidence.weights(matrices["best"], first["edges"][-1])}}


class Seedless:
    """A maker of networks that takes its start from torch's generator, as one that is given the seed."""

    def __init__(self, build: Any):
        self.build = build

    def __call__(self, seed: int) -> nn.Module:
        return self.build()  # type: ignore[no-any-return]


def fresh(build: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(0)  # type: ignore[no-any-return]


def weighted_cross_entropy(weights: Tensor | None, outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.ndim == 1 or outputs.shape[-1] == 1:  # one logit of a binary task
        column = outputs.reshape(-1, 1)
        outputs = torch.cat([torch.zeros_like(column), column], dim=1)
    return cross_entropy(outputs, targets, None if weights is None else weights.to(outputs))


def plain_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return squared_error(outputs.reshape(len(outputs), -1)[:, :1], targets.reshape(len(targets), -1)[:, 0].to(outputs.dtype))

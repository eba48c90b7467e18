"""What a search is about, as its stages see it: a table with the built-in network, or a task with a network of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from wellfit.data import Note, Split
from wellfit.population.tiers import AnyProblem
from wellfit.search.menus import Menu
from wellfit.search.rundir import RunDirectory
from wellfit.search.score import Scorer
from wellfit.search.settings import Settings
from wellfit.search.trainer import Fit, Trainer

Folds = tuple[tuple[np.ndarray, np.ndarray], ...]


class Prepared(Protocol):
    """Examples with their split, a metric, and a network that can be trained on them."""

    @property
    def split(self) -> Split: ...

    @property
    def notes(self) -> tuple[Note, ...]: ...

    @property
    def metric(self) -> str: ...

    @property
    def weighting(self) -> str:
        """Of the classes in the loss: "balanced" or "none"."""
        ...

    @property
    def device(self) -> str: ...

    def engines(self) -> dict[str, str]:
        """Which tier of the engine trains, and why."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def task(self) -> str:
        """binary, multiclass, regression or custom."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes, 0 where there are none."""
        ...

    @property
    def scale(self) -> tuple[float, float] | None:
        """(mean, std) that turn outputs into the target's unit; None for class scores."""
        ...

    def scorer(self, rows: np.ndarray) -> Scorer:
        """Scores predictions of these rows."""
        ...

    def with_folds(self, seed: int, folds: int) -> Self:
        """The same test rows with another number of folds."""
        ...

    def other_folds(self, seed: int) -> Folds:
        """The development rows divided anew into as many folds."""
        ...

    def problem(self, settings: Settings, folds: Folds) -> AnyProblem:
        """What the engine trains: these folds of row numbers."""
        ...

    def menu(self, settings: Settings) -> Menu:
        """What is searched."""
        ...

    def describe(self) -> dict[str, Any]:
        """What run.json keeps of the data."""
        ...

    def facts(self, settings: Settings) -> list[tuple[str, str]]:
        """Label and sentence, for what is worth knowing before training starts."""
        ...

    def network(self, settings: Settings) -> dict[str, Any]:
        """What the network is, for recipe.yaml."""
        ...

    def parameters(self, settings: Settings) -> int:
        """Number of the network's parameters."""
        ...

    def baseline(self, seed: int) -> np.ndarray | None:
        """Test predictions of a plain model beside the network, where there is one."""
        ...

    def save(self, run: RunDirectory, settings: Settings, best: Fit | None, ensemble: Sequence[tuple[Fit, float]]) -> None:
        """Write the models, and what it takes to predict with them."""
        ...

    def evidence(self, settings: Settings, fits: Mapping[str, Fit], trainer: Trainer, seed: int) -> dict[str, Any]:
        """What the report shows of the two networks, "unregularized" and "best"."""
        ...

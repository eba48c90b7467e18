"""A case: the training set-up that is diagnosed. Data and network, and how it is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.core.recipe import Recipe
from wellfit.search.configuration import Configuration
from wellfit.search.opening import opened
from wellfit.search.prepare_task import PreparedTask
from wellfit.search.rundir import RunDirectory
from wellfit.search.settings import Settings
from wellfit.search.subject import Folds, Prepared

_FOLDS = 3        # enough for intervals over rows; more would only cost time
_FEW_ROWS = 300   # below, five
_LEARNED = "wellfit tune"


@dataclass(frozen=True)
class Case:
    """What is diagnosed.

    Attributes:
        prepared: the examples with their split, and the network.
        settings: epochs, batch size, widths.
        recipe: the regularization of the set-up as it is.
        learning_rate: of the set-up as it is.
        seed: of everything.
        separate_test: whether the test rows were given apart, or lie later in time: they may differ from the training rows.
        reference: where the set-up came from, in words.
    """

    prepared: Prepared
    settings: Settings
    recipe: Recipe
    learning_rate: float
    seed: int
    separate_test: bool
    reference: str

    @property
    def folds(self) -> Folds:
        return self.prepared.split.folds

    @property
    def judged(self) -> np.ndarray:
        """The rows that folds validate on, one fold after the other."""
        return np.concatenate([validation for _, validation in self.folds])


def open_case(data: Any, target: str | None, *, recipe: Any = None, hidden: Sequence[int] | None = None,
              learning_rate: float | None = None, epochs: int | None = None, batch_size: int | None = None,
              activation: str | None = None, seed: int = 0, **of_data: Any) -> Case:
    """Read the data and settle the set-up: what is given, else what a run holds, else the defaults of ``wellfit tune``."""
    chosen: Configuration | None = None
    known: dict[str, Any] = {}
    if isinstance(data, str | os.PathLike) and (Path(data) / "summary.json").is_file():
        chosen, known = _of_run(Path(data))
        data, target = known.pop("data"), target or known.pop("target")
        seed = known.pop("seed")
    asked = {"data": data, "target": target, "seed": seed, "task": None, "metric": None, "class_weights": None, "group": None,
             "time": None, "test": None, "drop": [], "encoding": "auto", "engine": "auto", "folds": None,
             **{n: v for n, v in known.items() if v is not None},
             **{n: v for n, v in of_data.items() if v is not None and not (isinstance(v, list) and not v)},
             "hidden": list(hidden) if hidden else known.get("hidden"), "activation": activation or known.get("activation"),
             "epochs": epochs or known.get("epochs"), "batch_size": batch_size or known.get("batch_size")}
    prepared, settings = opened(asked)
    if asked["folds"] is None:
        count = min(settings.folds, 5 if len(prepared.split.development) < _FEW_ROWS else _FOLDS)
        settings = replace(settings, folds=count)
    prepared = prepared.with_folds(seed, settings.folds)
    menu = prepared.menu(settings)
    given = read_recipe(recipe) if recipe is not None else chosen
    if given is None and menu.given:
        given = menu.given[0]  # a network of one's own comes with its dropout and its decay
    rate = learning_rate or (given.learning_rate if given is not None and given.learning_rate else None) or menu.default_rate
    if not rate > 0:
        raise WellfitError("A learning rate is positive.", received=learning_rate, expected="such as 1e-3")
    separate = asked["test"] is not None or asked["time"] is not None or _own_test(prepared)
    return Case(prepared, settings, given.recipe if given is not None else Recipe(), float(rate), seed, separate,
                _LEARNED if chosen is not None else "as given")


def _own_test(prepared: Prepared) -> bool:
    return isinstance(prepared, PreparedTask) and (prepared.source.test is not None or prepared.fixed is not None)


def read_recipe(recipe: Any) -> Configuration:
    """A recipe from an object, a mapping, or a YAML or JSON file; a file of ``wellfit tune`` carries its learning rate."""
    if isinstance(recipe, Recipe):
        return Configuration(recipe, 0.0, "as given")
    if isinstance(recipe, Configuration):
        return recipe
    if isinstance(recipe, str | os.PathLike):
        import yaml

        path = Path(recipe)
        if not path.is_file():
            raise WellfitError("There is no such recipe.", received=str(recipe),
                               expected="a recipe.yaml, as best/recipe.yaml of a run")
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        rate = loaded.get("learning_rate") if isinstance(loaded, dict) else None
        rate = rate or (loaded.get("training", {}) or {}).get("learning_rate") if isinstance(loaded, dict) else None
        return Configuration(Recipe.load(path), float(rate or 0.0), str(path))
    if isinstance(recipe, dict):
        return Configuration(Recipe.from_mapping(recipe), float(recipe.get("learning_rate") or 0.0), "as given")
    raise WellfitError("This is no recipe.", received=type(recipe).__name__, expected="a wf.Recipe, or the path of a recipe.yaml")


def _of_run(path: Path) -> tuple[Configuration, dict[str, Any]]:
    """What a finished run was about, and the configuration that it chose."""
    run = RunDirectory.open(path)
    record, summary = run.read_json("run.json"), run.read_json("summary.json")
    arguments = record["arguments"]
    if arguments.get("data") is None:
        raise WellfitError("The run was made from data in memory, which is not kept in it.", received=str(path),
                           expected="a run on a file", action="wf.diagnose(frame, target=..., recipe=RUN/best/recipe.yaml)")
    settings = record["settings"]
    names = ("data", "target", "task", "metric", "class_weights", "group", "time", "test", "drop")
    known = {n: arguments.get(n) for n in names}
    known |= {n: settings[n] for n in ("hidden", "epochs", "batch_size", "activation")}
    known |= {"seed": record["seed"], "encoding": record.get("encoding") or "auto"}
    return Configuration.from_mapping(summary["best"]["recipe"]), known

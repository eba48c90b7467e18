"""From what a person hands over to the subject of a search, with settings for its size."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from wellfit.core.errors import WellfitError
from wellfit.data import load_table
from wellfit.population.native.library import why_not
from wellfit.population.pool import Pool
from wellfit.search.foundation import Asked, Foundation
from wellfit.search.media import is_media, media_task
from wellfit.search.prepare import PreparedTable, check_metric, prepare
from wellfit.search.prepare_task import PreparedTask
from wellfit.search.rundir import RunDirectory
from wellfit.search.settings import Budget, Settings
from wellfit.search.subject import Prepared
from wellfit.search.task import Task, is_reference, load_task
from wellfit.search.task_foundation import choose_settings
from wellfit.search.task_reading import prepare_task

_OF_TABLES: dict[str, Any] = {"target": None, "task": None, "time": None, "drop": [], "activation": None, "encoding": "auto",
                              "engine": "auto"}


def kind_of(data: Any) -> Literal["task", "media", "table"]:
    """What the data are: a task (or package.module:task), a folder or file of images or sounds, or a table."""
    if isinstance(data, Task) or (is_reference(data) and not Path(data).exists()):
        return "task"
    return "media" if isinstance(data, str | os.PathLike) and is_media(Path(data)) else "table"


def opened(asked: dict[str, Any]) -> tuple[Prepared, Settings]:
    """Read the data. The arguments are those of :func:`wellfit.tune`."""
    data, kind = asked["data"], kind_of(asked["data"])
    if kind == "task":
        return _task(data if isinstance(data, Task) else load_task(data), asked)
    if kind == "media":
        task, known = media_task(Path(data), test=asked["test"], group=asked["group"], weighting=asked["class_weights"])
        return _task(task, {**asked, "test": None, "group": None, "class_weights": None}, **known)
    return _table(asked)


def _table(asked: dict[str, Any]) -> tuple[PreparedTable, Settings]:
    if asked["target"] is None:
        raise WellfitError("A table needs a target.", received=f"data={asked['data']!r:.80}, target=None",
                           expected="the name of the column to predict", action='wf.tune("table.csv", target="column")')
    table = load_table(asked["data"], asked["target"], task=asked["task"], group=asked["group"], time=asked["time"],
                       drop=asked["drop"], test=asked["test"])
    check_metric(asked["metric"], table.task)
    development = len(table) - (len(table.test_index) if table.test_index is not None else len(table) // 5)
    encoding = "plain" if asked["encoding"] == "auto" else asked["encoding"]
    settings = Settings.for_size(development, table.frame.shape[1], hidden=tuple(asked["hidden"]) if asked["hidden"] else None,
                                 **{n: asked[n] for n in ("activation", "epochs", "batch_size", "folds")})
    prepared = prepare(table, seed=asked["seed"], folds=settings.folds, metric=asked["metric"], weighting=asked["class_weights"],
                       encoding=encoding)
    return replace(prepared, engine=asked.get("engine", "auto"), device=asked.get("device") or "cpu"), settings


def _task(task: Task, asked: dict[str, Any], **known: Any) -> tuple[PreparedTask, Settings]:
    given = [n for n, usual in _OF_TABLES.items() if asked.get(n, usual) != usual]
    given += [n for n in ("test", "group", "class_weights") if asked.get(n) is not None]
    if given:
        raise WellfitError("These arguments are for tables.", received=", ".join(f"{n}={asked[n]!r}" for n in given),
                           expected="a task that says so itself (wf.Task)", action="leave them out")
    if asked.get("device"):
        task = replace(task, device=asked["device"])
    prepared = prepare_task(task, seed=asked["seed"], folds=asked["folds"], metric=asked["metric"], **known)
    if asked["hidden"] and not hasattr(task.build, "with_widths"):
        raise WellfitError("The network is the task's own.", received=f"hidden={asked['hidden']}",
                           action="set its widths in build")
    rows = len(prepared.split.development)
    settings = Settings.for_size(rows, 1, hidden=tuple(asked["hidden"] or ()), epochs=asked["epochs"] or task.epochs,
                                 batch_size=asked["batch_size"] or prepared.batch_size,
                                 folds=asked["folds"] or (1 if prepared.fixed is not None or rows > 2000 else 3))
    return prepared.with_folds(asked["seed"], settings.folds), settings


def same_data(run: RunDirectory, prepared: Prepared) -> None:
    """An error unless a resumed run finds the data it was started with."""
    recorded, now = run.read_json("run.json")["data"]["sha256"], prepared.describe()["sha256"]
    if recorded != now:
        raise WellfitError("The data have changed since the run was started.", received=prepared.name,
                           expected=f"data with sha256 {str(recorded)[:12]}",
                           action="resume with the same data, or start a new run")


def grounded(run: RunDirectory, prepared: Prepared, settings: Settings, pool: Pool, seed: int, asked: Asked, budget: Budget,
             started: float, tell: Callable[[str], None]) -> tuple[Prepared, Settings]:
    """What regularization is compared on, chosen before anything else: the network, and how long it is trained."""
    if isinstance(prepared, PreparedTask):
        return choose_settings(run, prepared, settings, pool, asked, budget, tell)
    assert isinstance(prepared, PreparedTable)
    if prepared.engine == "auto" and prepared.device == "cpu" and (reason := why_not()):
        tell(f"training on tensors, slower: {reason}")
    return Foundation(run, prepared, settings, pool, seed, asked, budget, started).choose(tell)

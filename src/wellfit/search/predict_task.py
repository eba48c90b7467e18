"""Predictions of a finished run on images, sounds, or a network of one's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from wellfit.core.errors import WellfitError
from wellfit.core.phases import phases_of
from wellfit.core.recipe import Recipe
from wellfit.population.modules.rows import Rows, TensorRows, as_tensors, leaves, mapped, rows_of
from wellfit.population.modules.save import load_states
from wellfit.population.modules.stack import forward
from wellfit.search.media import MediaReader
from wellfit.search.rundir import RunDirectory
from wellfit.search.score import softmax
from wellfit.search.task import Task, load_task

_CHUNK = 256


def predict_task(run: RunDirectory, saved: Mapping[str, Any], new: Any, model: str, weights: Mapping[str, float],
                 task: Task | None) -> pd.DataFrame:
    """See :func:`wellfit.search.predict.predict`."""
    reader = MediaReader.from_mapping(saved)
    names: list[str] | None = None
    if reader is not None:
        names, rows = reader.examples(new)
        build: Any = reader.maker
        features: Any = reader.features
    else:
        task = _task(saved, task)
        rows, build, features = _examples(new), task.build, task.features
    states = load_states(run.path / model / "model.safetensors")
    recipes = _recipes(run, model, weights)
    total: Any = 0.0
    for key, weight in weights.items():
        total = total + weight * _shown(_answers(network_with(build, recipes[key], states[key]), rows, features), saved)
    return _frame(total / sum(weights.values()), saved, names)


def trained_network(run: RunDirectory, saved: Mapping[str, Any], task: Task | None) -> nn.Module:
    """The best network of a run, in evaluation mode."""
    if "kind" not in saved:
        raise WellfitError("This run is on a table.", received=str(run.path), expected="a run on images, sounds or a task",
                           action="result.predict(frame), or best/model.safetensors into wf.MLP")
    reader = MediaReader.from_mapping(saved)
    build: Any = _task(saved, task).build if reader is None else reader.maker
    return network_with(build, _recipes(run, "best", {"": 1.0})[""], load_states(run.path / "best" / "model.safetensors")[""])


def _recipes(run: RunDirectory, model: str, weights: Mapping[str, float]) -> dict[str, Recipe]:
    if model == "best":
        return dict.fromkeys(weights, Recipe.from_mapping(run.read_json("summary.json")["best"]["recipe"]))
    return {m["key"]: Recipe.from_mapping(m["recipe"]) for m in run.read_json("ensemble/members.json")["members"]}


def _task(saved: Mapping[str, Any], task: Task | None) -> Task:
    if task is not None:
        return task
    if saved.get("reference"):
        return load_task(saved["reference"])
    raise WellfitError("The network of this run is code, which is not kept in it.", received="no task",
                       expected="the task that the run was started with",
                       action="result.predict(new, task=task), result.network(task)")


def network_with(build: Any, recipe: Recipe, state: Mapping[str, Tensor]) -> nn.Module:
    """A fresh network with what the recipe built into it, and the trained weights."""
    with torch.random.fork_rng(devices=[]):
        model = build()
    rewriting = Recipe(*(p for p in recipe if "rewrite" in phases_of(p)))
    plan = rewriting.compile(model, epochs=1, steps_per_epoch=1)
    try:
        plan.model.load_state_dict(dict(state))
    except RuntimeError as error:
        raise WellfitError("The saved weights do not fit the network.", received=str(error).replace("\n", " ")[:300],
                           expected="the network that the run was started with", action="give the same task, unchanged") from error
    model = plan.model.eval()
    return model


def _examples(new: Any) -> Rows:
    """Inputs, with or without targets."""
    if isinstance(new, np.ndarray | Tensor | dict):
        inputs = as_tensors(new)
        return TensorRows(inputs, torch.zeros(len(next(leaves(inputs)))))
    if not isinstance(new, str | os.PathLike):
        return rows_of(new)[0]
    path = Path(new)
    expected = "a .npy or .npz file, an array, a data set or a loader"
    if path.suffix not in (".npy", ".npz"):
        raise WellfitError("Examples for a network of one's own are arrays.", received=str(path), expected=expected)
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise WellfitError("The examples cannot be read.", received=f"{path} ({error})", expected=expected) from error
    if isinstance(found, np.ndarray):
        return _examples(found)
    first = next((n for n in ("x", "inputs", "X", "images") if n in found.files), found.files[0])
    return _examples(found[first])


@torch.no_grad()
def _answers(network: nn.Module, rows: Rows, features: Any) -> Tensor:
    pieces = []
    for chunk in torch.arange(len(rows)).split(_CHUNK):
        inputs, _ = rows.take(chunk)
        pieces.append(mapped(forward(network, inputs if features is None else features(inputs)), lambda t: t.float()))
    return torch.cat(pieces)


def _shown(outputs: Tensor, saved: Mapping[str, Any]) -> np.ndarray:
    """Probabilities of classes, or the outputs themselves, (n, ...)."""
    values = outputs.numpy()
    if not saved["names"]:
        return values
    columns = values.reshape(len(values), -1)
    return softmax(np.hstack([np.zeros_like(columns), columns]) if columns.shape[1] == 1 else columns)


def _frame(total: np.ndarray, saved: Mapping[str, Any], files: list[str] | None) -> pd.DataFrame:
    columns: dict[str, Any] = {} if files is None else {"file": files}
    names = saved["names"]
    if names:
        columns["prediction"] = [names[i] for i in total.argmax(axis=1)]
        return pd.DataFrame(columns | {f"p_{name}": total[:, c] for c, name in enumerate(names)})
    flat = total.reshape(len(total), -1)
    if flat.shape[1] == 1:
        return pd.DataFrame(columns | {"prediction": flat[:, 0]})
    return pd.DataFrame(columns | {f"prediction_{i}": flat[:, i] for i in range(flat.shape[1])})

"""The main job: from a table to the regularization it needs, with evidence."""

from __future__ import annotations

import contextlib
import os
import time as clock
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.registry import lookup
from wellfit.data import save_split
from wellfit.data.preprocess import ENCODINGS
from wellfit.population.native.library import why_not
from wellfit.population.network import ACTIVATIONS
from wellfit.population.pool import Pool, usable_cores
from wellfit.population.problem import ENGINES
from wellfit.search.device import check_device
from wellfit.search.foundation import Asked, trainer_for
from wellfit.search.live import Bar, Listener, Silent
from wellfit.search.opening import grounded, kind_of, opened, same_data
from wellfit.search.result import TuneResult
from wellfit.search.rundir import FORMAT, RunDirectory, command_line, environment, now
from wellfit.search.session import Session, space_of
from wellfit.search.settings import Budget, Settings
from wellfit.search.stages import execute
from wellfit.search.subject import Prepared
from wellfit.search.task import Task, is_reference

_ENCODINGS = ("auto", *ENCODINGS)


def tune(data: Any = None, target: str | None = None, *, budget: str | float = "3m", out: str | os.PathLike[str] | None = None,
         seed: int = 0, task: str | None = None, metric: str | None = None, class_weights: str | None = None,
         group: str | None = None, time: str | None = None, test: Any = None, drop: Sequence[str] = (),
         regularizers: Sequence[str] | None = None, hidden: Sequence[int] | None = None, activation: str | None = None,
         epochs: int | None = None, batch_size: int | None = None, folds: int | None = None, encoding: str = "auto",
         engine: str = "auto", device: str | None = None, workers: int | None = None, overwrite: bool = False,
         resume: str | os.PathLike[str] | None = None,
         progress: bool | Listener = True) -> TuneResult:
    """Find which regularizers help a network, how strong, and what each one buys.

    ::

        result = wf.tune("table.csv", target="price", budget="5m")
        result.recipe, result.summary["gain"]["test"]
        result.predict("new.csv")

    Args:
        data: a table (path of a csv, csv.gz, tsv or parquet file, or a pandas frame); a folder of images or sounds, an npz file or
            a folder of idx files; a :class:`~wellfit.Task`, or where one is found ("package.module:task").
        target: the column of a table to predict.
        budget: wall-clock time ("90s", "3m", "1h"), kept to within one epoch, or work ("200c": configurations); with work and a
            seed a run repeats exactly.
        out: the run directory (default: the next free folder under wellfit-runs).
        seed: of the split, the start weights and all draws.
        task, metric, class_weights: decided from the target by default: balanced accuracy with the loss weighted by inverse class
            frequency ("balanced") for classes, RMSE for numbers.
        group, time: columns that keep rows together, or in order, across the split.
        test: a separate test table, or test folder; by default a fifth of the rows is held back.
        drop: columns to leave out.
        regularizers: restrict the search to these (see ``wellfit recipes``).
        hidden, activation, epochs, batch_size, folds, encoding: the network and its training; by default from the data's size.
            For images and sounds ``hidden`` are the channels of the convolutional stages.
        engine: "native" (compiled), "reference" (tensors), or "auto": the compiled one wherever it can, on a graphics card steps
            that are recorded once and played.
        device: "cpu", "cuda", "cuda:1" or "mps". By default the CPU for tables, images and sounds, for a ``wf.Task`` its own.
        workers: cores to use (default: all).
        overwrite: replace an existing run in ``out``.
        resume: go on with an interrupted run directory; everything else but ``workers`` and ``device`` is read from it.
        progress: a live bar, or an object of your own (:class:`~wellfit.search.live.Listener`).

    Returns:
        A :class:`TuneResult`: ``summary``, ``recipe``, ``predict(new)``, ``report()``.

    Raises:
        WellfitError: for anything wrong with the input, before anything is written.
    """
    started = clock.monotonic()
    listener: Listener = (Bar() if progress else Silent()) if isinstance(progress, bool) else progress
    try:
        if resume is not None:
            run = RunDirectory.open(resume)
            if run.complete:
                return TuneResult(run.path, data if isinstance(data, Task) else None)
            asked = {**_recorded(run, data), **({} if device is None else {"device": device})}
        else:
            if data is None:
                raise WellfitError("tune needs data.", received="none",
                                   expected='a table, a folder of images or sounds, or a wf.Task',
                                   action='wf.tune("table.csv", target="column")')
            asked = {"data": data, "target": target, "budget": str(Budget.parse(budget)), "seed": seed, "task": task,
                     "metric": metric, "class_weights": class_weights, "group": group, "time": time, "test": test,
                     "drop": list(drop), "regularizers": list(regularizers) if regularizers else None,
                     "hidden": list(hidden) if hidden else None, "activation": activation, "epochs": epochs,
                     "batch_size": batch_size, "folds": folds, "encoding": encoding, "engine": engine, "device": device}
            _check(asked, workers)
            run = None
        if asked.get("device"):
            check_device(asked["device"], table=kind_of(asked["data"]) == "table")
        listener.stage("reading the data")
        prepared, settings = opened(asked)
        if run is not None:
            same_data(run, prepared)
        space_of(prepared, settings, asked["regularizers"])
        if run is None:
            run = RunDirectory.create(out if out is not None else _next_free(prepared.name), overwrite=overwrite)
        return _run(run, asked, prepared, settings, workers, listener, started)
    finally:
        listener.close()


def _run(run: RunDirectory, asked: dict[str, Any], prepared: Prepared, settings: Settings, workers: int | None,
         listener: Listener, started: float) -> TuneResult:
    budget, seed = Budget.parse(asked["budget"]), asked["seed"]
    with _one_thread(), Pool(workers) as pool:
        prepared = prepared.with_folds(seed, settings.folds)
        if not (run.path / "run.json").is_file():
            _record(run, asked, prepared, settings, pool)
        listener.begin(prepared, settings, run.path)
        settled = Asked(tuple(asked["hidden"]) if asked["hidden"] else None, asked["epochs"], asked["folds"], asked["encoding"])
        prepared, settings = grounded(run, prepared, settings, pool, seed, settled, budget, started, listener.stage)
        _record(run, asked, prepared, settings, pool)
        trainer = trainer_for(run, prepared, settings, pool, seed, "choose")
        execute(Session(run, prepared, settings, budget, trainer, listener, seed, asked["regularizers"], started))
    return TuneResult(run.path, getattr(prepared, "source", None))


def _check(asked: dict[str, Any], workers: int | None) -> None:
    for name in asked["regularizers"] or ():
        lookup(name)
    if asked["activation"] is not None and asked["activation"] not in ACTIVATIONS:
        raise WellfitError("Unknown activation.", received=repr(asked["activation"]), expected=", ".join(ACTIVATIONS))
    if asked["encoding"] not in _ENCODINGS:
        hint = nearest(str(asked["encoding"]), _ENCODINGS)
        raise WellfitError("Unknown encoding.", received=repr(asked["encoding"]), expected=", ".join(_ENCODINGS),
                           action=f"did you mean {hint}?" if hint else None)
    if asked["engine"] not in ENGINES:
        raise WellfitError("Unknown engine.", received=repr(asked["engine"]), expected=", ".join(ENGINES))
    if asked["engine"] == "native" and (reason := why_not()):
        raise WellfitError("The native engine is not there.", received=reason, action='choose the engine "auto"')
    for name, low in (("epochs", 1), ("batch_size", 2), ("folds", 1)):
        if asked[name] is not None and (not isinstance(asked[name], int) or asked[name] < low):
            raise WellfitError(f"{name} is too small.", received=repr(asked[name]), expected=f"a whole number of at least {low}")
    if asked["hidden"] is not None and any(not isinstance(w, int) or w < 1 for w in asked["hidden"]):
        raise WellfitError("hidden holds widths of layers.", received=repr(asked["hidden"]), expected="such as (128, 128)")
    if workers is not None and workers < 1:
        raise WellfitError("At least one process is needed.", received=workers, expected=f"1 to {usable_cores()}")


def _record(run: RunDirectory, asked: dict[str, Any], prepared: Prepared, settings: Settings, pool: Pool) -> None:
    """run.json and split.npz: what the run is, before it starts."""
    kept = {k: _kept_source(v) if k in ("data", "test") else v for k, v in asked.items()}
    split, data = prepared.split, prepared.describe()
    first = run.read_json("run.json") if (run.path / "run.json").is_file() else {}
    ground = run.load_job("foundation")
    save_split(run.file("split.npz"), split)
    run.write_json("run.json", {
        "format": FORMAT, "command": first.get("command", command_line()), "created": first.get("created", now()),
        "versions": environment(), "seed": asked["seed"],
        "budget": asked["budget"], "arguments": kept, "settings": settings.to_mapping(), "data": data,
        "metric": prepared.metric, "class_weights": prepared.weighting, "encoding": data.get("encoding"),
        "tried": ground[0].get("merits", {}) if ground else {},  # networks and encodings: cross-validated loss, lower is better
        "split": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        "device": prepared.device, "engine": {**prepared.engines(), "workers": pool.workers}})


def _kept_source(source: Any) -> str | None:
    """Where data can be found again; None for what lives in memory only."""
    if isinstance(source, Task):
        return source.reference
    if is_reference(source):
        return str(source)
    return str(Path(source).resolve()) if isinstance(source, str | os.PathLike) else None


def _recorded(run: RunDirectory, data: Any) -> dict[str, Any]:
    asked = dict(run.read_json("run.json")["arguments"])
    if data is not None:
        asked["data"] = data
    if asked["data"] is None:
        raise WellfitError("The run was started from a data frame or a task in memory, which is not kept in it.",
                           received=str(run.path), expected="wf.tune(data, resume=RUN)", action="pass the same frame or task again")
    return asked


def _next_free(name: str) -> Path:
    root = Path("wellfit-runs")
    number = 1
    while (root / f"{name}-{number}").exists():
        number += 1
    return root / f"{name}-{number}"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread per process: several processes beat several threads on small networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

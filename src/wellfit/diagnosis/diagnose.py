"""``wf.diagnose``: what is wrong with a training set-up, how sure that is, and what would help."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic as _now
from typing import Any

from wellfit.core.recipe import Recipe
from wellfit.diagnosis import describe, faults, leaks, moved, soundness
from wellfit.diagnosis.allowance import Allowance
from wellfit.diagnosis.case import Case, open_case
from wellfit.diagnosis.laboratory import Laboratory
from wellfit.diagnosis.measurement import Measurement
from wellfit.diagnosis.prescription import Prescription, measured_first
from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.signals import Signals, training_signals
from wellfit.diagnosis.study import Study, study
from wellfit.diagnosis.trial import Trial, try_out
from wellfit.diagnosis.verdict import Verdict, judge
from wellfit.diagnosis.views import views
from wellfit.population.pool import Pool
from wellfit.report import write_report
from wellfit.search.rundir import command_line, to_json, write_atomically
from wellfit.search.settings import Budget

FORMAT = 1
_TRIAL_SHARE = 0.2  # of the time, kept for trying the prescription
_AFTER = 0.2         # of the budget: what is looked at once all is trained, and the report


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`wellfit.diagnose` found.

    ::

        print(found)                                # the verdict and every measurement in words
        found.cause, found.confidence               # ('overfits', 0.98)
        found.prescriptions[0].said()               # 'takes 41% of the error away here (25% to 57%, measured)'
        found.recipe                                # a wf.Recipe to train with

    Attributes:
        verdict: the main cause, with its confidence.
        measurements: every number, with its interval and in words; those that decided first.
        prescriptions: what would help, the best first.
        trial: whether the first prescription held on the test rows; None unless it was tried.
        path: where diagnosis.json and report.html are, if they were written.
    """

    verdict: Verdict
    measurements: tuple[Measurement, ...]
    prescriptions: tuple[Prescription, ...]
    trial: Trial | None
    mapping: dict[str, Any]
    path: Path | None = None

    @property
    def cause(self) -> str:
        return self.verdict.cause

    @property
    def confidence(self) -> float:
        return self.verdict.confidence

    @property
    def recipe(self) -> Recipe | None:
        """The recipe that is prescribed first; None where nothing is."""
        return self.prescriptions[0].recipe if self.prescriptions else None

    def to_mapping(self) -> dict[str, Any]:
        return self.mapping

    def __str__(self) -> str:
        return "\n".join([f"{self.verdict.title} (confidence {100 * self.confidence:.0f}%)", self.mapping["verdict"]["because"],
                          *(f"- {m.title}: {m.words}" for m in self.measurements)])

    def __repr__(self) -> str:
        return f"Diagnosis({self.cause!r}, confidence={self.confidence:.2f})"


def diagnose(data: Any, target: str | None = None, *, recipe: Any = None, hidden: Sequence[int] | None = None,
             learning_rate: float | None = None, epochs: int | None = None, batch_size: int | None = None,
             activation: str | None = None, budget: str | float = "60s", out: str | os.PathLike[str] | None = None, seed: int = 0,
             task: str | None = None, metric: str | None = None, class_weights: str | None = None, group: str | None = None,
             time: str | None = None, test: Any = None, drop: Sequence[str] = (), try_: bool = False, workers: int | None = None,
             progress: Callable[[str], None] | bool = False) -> Diagnosis:
    """Measure what is wrong with a training set-up, and say what would help.

    ::

        found = wf.diagnose("table.csv", target="price")
        found.cause, found.confidence, found.recipe

    The set-up is the data, the network and how it is trained: by default the network of ``wellfit tune`` without regularization; or
    that of a finished run; or a :class:`~wellfit.Task` with its own network and optimizer; ``recipe``, ``hidden``,
    ``learning_rate``, ``epochs`` and ``batch_size`` say otherwise. It is trained as it is and with one thing changed at a time: on
    less data, at other learning rates and widths, with more and with less regularization. The cause is what gains most on rows
    that were not learned from; faults of the data (leaks, wrong labels, a shift) and of the set-up come first.

    Args:
        data: a table, a folder of images or sounds, a :class:`~wellfit.Task`, "package.module:task", or a run directory.
        target: the column of a table to predict.
        recipe: regularization of the set-up: a :class:`~wellfit.Recipe`, or the path of a recipe.yaml.
        hidden, learning_rate, epochs, batch_size, activation: of the set-up; by default from the data's size, as ``wellfit tune``
            does.
        budget: wall-clock time ("60s"), or work ("40c": trainings on all folds), with which a seed repeats a diagnosis exactly;
            what does not fit is left out, the least telling first.
        out: where to write diagnosis.json and report.html; None: nowhere.
        seed: of the split, the start weights and all draws.
        task, metric, class_weights, group, time, test, drop: as in :func:`wellfit.tune`.
        try_: apply the first prescription with paired seeds and judge it on the test rows, which nothing else has looked at; if its
            measured gain is certain (a 95% interval above zero).
        workers: cores to use (default: all).
        progress: is told what is being done.

    Raises:
        WellfitError: for anything wrong with the input.
    """
    begun = _now()
    allowed = Budget.parse(budget)
    tell: Callable[[str], None] = progress if callable(progress) else (lambda what: None)
    tell("reading the data")
    case = open_case(data, target, recipe=recipe, hidden=hidden, learning_rate=learning_rate, epochs=epochs,
                     batch_size=batch_size, activation=activation, seed=seed, task=task, metric=metric,
                     class_weights=class_weights, group=group, time=time, test=test, drop=list(drop))
    with Pool(workers) as pool:
        laboratory = Laboratory(case, pool, tell)
        tell("looking for faults in the data")
        of_data = [*leaks.in_data(case), *soundness.in_set_up(case)]
        allowance = Allowance(laboratory, trainings=allowed.configurations) if allowed.seconds is None else Allowance(
            laboratory, begun + allowed.seconds * (1 - _AFTER - _TRIAL_SHARE * try_) - _now())
        found = study(laboratory, allowance)
        signals = training_signals(found)
        of_training = [*leaks.in_training(found), *moved.in_test_rows(found), *faults.in_training(found)]
        for fault in (*of_data, *of_training):
            for name, signal in fault.signals.items():
                signals.put(name, signal)
        verdict = judge(signals, seed)
        tell("looking at the network")
        shown = views(found)
        prescriptions = measured_first(found, verdict, allowance, sure=try_)
        trial = try_out(laboratory, prescriptions[0], tell) if try_ and prescriptions and prescriptions[0].sure else None
    looked = [*of_data, *of_training, *shown]
    measured = _decisive_first([*(f.measurement for f in looked if f.measurement is not None),
                                *describe.measurements(found, signals)], verdict)
    mapping = _mapping(case, found, signals, verdict, measured, prescriptions, trial, looked, _now() - begun)
    path = None
    if out is not None:
        path = Path(out)
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / "diagnosis.json", to_json(mapping))
        tell("writing the report")
        write_report(path)
    return Diagnosis(verdict, tuple(measured), tuple(prescriptions), trial, mapping, path)


def _decisive_first(measured: list[Measurement], verdict: Verdict) -> list[Measurement]:
    marked = [replace(m, decided=m.id == verdict.decided_by) for m in measured]
    return sorted(marked, key=lambda m: (not m.decided, {"alarm": 0, "notice": 1, "good": 2}[m.level]))


def _mapping(case: Case, found: Study, signals: Signals, verdict: Verdict, measured: list[Measurement],
             prescriptions: list[Prescription], trial: Trial | None, of_faults: list[Any], seconds: float) -> dict[str, Any]:
    """diagnosis.json."""
    prepared, scorer = case.prepared, found.laboratory.contributions.scorer
    out: dict[str, Any] = {
        "format": FORMAT, "kind": "diagnosis", "dataset": prepared.name, "target": prepared.target, "task": prepared.task,
        "metric": scorer.metric, "higher_is_better": scorer.higher_is_better, "command": command_line(), "seed": case.seed,
        "set_up": {"network": prepared.network(case.settings), "recipe": case.recipe.to_mapping(),
                   "learning_rate": case.learning_rate, "epochs": case.settings.epochs, "batch_size": case.settings.batch_size,
                   "folds": len(case.folds),
                   "rows": {"train": found.facts["rows"], "judged": len(case.judged), "test": len(prepared.split.test)}},
        "verdict": {"cause": verdict.cause, "title": verdict.title, "confidence": verdict.confidence,
                    "because": describe.because(verdict, measured), "probabilities": dict(verdict.probabilities)},
        "advice": list(rules()["causes"][verdict.cause]["advice"]),
        "signals": {n: s.to_mapping() for n, s in signals.found.items()},
        "measurements": [m.to_mapping() for m in measured],
        "prescriptions": [p.to_mapping() for p in prescriptions],
        "curves": describe.curves(found), **describe.scans(found), **describe.parts(found),
        "left_out": found.left_out,
        "cost": {"seconds": seconds, "trainings": found.laboratory.trainings}}
    if trial is not None:
        out["tried"] = trial.to_mapping()
    for fault in of_faults:
        out.update(fault.details)
    return out

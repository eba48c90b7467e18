"""What a pair of training curves says, and how sure that is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wellfit.diagnosis.history.curves import Curves, curves_of
from wellfit.diagnosis.history.features import Shape, shape_of
from wellfit.diagnosis.history.model import PARENT, overfitting, probabilities
from wellfit.diagnosis.history.read import from_arrays, read_history
from wellfit.diagnosis.history.rules import Broken, broken, hidden_training, uncertain
from wellfit.diagnosis.history.sentences import advice, evidence, title
from wellfit.diagnosis.history.series import History

CAUSES = ("fits well", "underfits", "overfits", "over-regularized", "broken set-up", "cannot tell")
DETAILS = {"still_falling": "train longer", "rate_too_low": "learning rate too low", "rate_too_high": "learning rate too high",
           "plateau": "plateau high"}
"""The ways to underfit."""

_NAMES = {"fits_well": "fits well", "over_regularized": "over-regularized"}


@dataclass(frozen=True)
class HistoryVerdict:
    """A verdict on curves alone.

    Attributes:
        cause: the most probable one of ``CAUSES``.
        confidence: its probability. Of verdicts on clean curves with confidence p about a share p is right
            (``benchmarks/history.py``).
        probabilities: of every cause.
        overfitting: the probability that the last epoch is worse than the best one by more than chance, whatever the main cause.
        detail: how it underfits ("train longer", "plateau high", "learning rate too low" or "too high"), or which way the set-up is
            broken; else empty.
        evidence: sentences, the one that matters most first.
        advice: what to do, most promising first.
        when: epochs: ``best``, ``best_low`` and ``best_high`` (95% interval of the best epoch), ``last``; and ``began`` (with
            ``began_low``, ``began_high``) where overfitting was found.
        numbers: ``gap``, ``gap_at_best``, ``lost`` (with ``lost_low``, ``lost_high``), ``best_value``, ``last_value``, noise.
        history: what was judged.
        shape: the smoothed curves; None where there was too little to smooth.
    """

    cause: str
    confidence: float
    probabilities: dict[str, float]
    detail: str = ""
    evidence: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    when: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=lambda: History(()))
    shape: Shape | None = None
    curves: Curves | None = None
    overfitting: float | None = None

    @property
    def title(self) -> str:
        """The verdict in a few words."""
        return title(self.cause, self.detail)

    def __str__(self) -> str:
        return "\n".join(words(self))

    def to_dict(self) -> dict[str, Any]:
        """The verdict in the format of ``diagnosis.json``, which ``wellfit.report`` turns into a page."""
        from wellfit.diagnosis.history.output import as_diagnosis

        return as_diagnosis(self)


def history_verdict(train_loss: Any = None, validation_loss: Any = None, *, train_metric: Any = None, validation_metric: Any = None,
                    epochs: Any = None, metric: str = "", higher_is_better: bool | None = None) -> HistoryVerdict:
    """A verdict from a training history alone.

    The curves are smoothed robustly, described by numbers without scale, and judged by a model fitted to real trainings whose
    truth is known (``benchmarks/history.py``); what no model is needed for (NaN, no movement, too short) is decided by rule.

    Args:
        train_loss: one number per epoch, None or nan where there is none; or a path, a :class:`History`, a Keras History, a mapping
            of lists: whatever :func:`read_history` takes.
        validation_loss: one number per epoch.
        train_metric, validation_metric: one number per epoch; judged where there is no validation loss.
        epochs: where the values were taken; 1, 2, … by default.
        metric: name of the metric.
        higher_is_better: of the metric, where its name does not tell.

    Raises:
        WellfitError: there are no numbers, lengths differ, or it is not known which way the metric is better.

    >>> falling = [0.9 * 0.93 ** e + 0.05 for e in range(60)]
    >>> rising = [0.5 + 0.4 * 0.85 ** e + 0.006 * e for e in range(60)]
    >>> history_verdict(falling, rising).cause
    'overfits'
    """
    whole = isinstance(train_loss, (str, os.PathLike, Mapping, History)) or hasattr(train_loss, "history") or hasattr(
        train_loss, "columns")
    rows = isinstance(train_loss, (list, tuple)) and bool(train_loss) and isinstance(train_loss[0], Mapping)
    if (whole or rows) and validation_loss is None:
        history = read_history(train_loss, higher_is_better=higher_is_better)
    else:
        history = from_arrays(train_loss, validation_loss, train_metric=train_metric, validation_metric=validation_metric,
                              epochs=epochs, metric=metric, higher_is_better=higher_is_better)
    return judged(history)


def judged(history: History) -> HistoryVerdict:
    """The verdict on a history."""
    fault = broken(history)
    if fault is not None:
        return _broken(history, fault)
    curves = curves_of(history)
    reason = uncertain(history, curves)
    if reason or curves is None:
        return HistoryVerdict("cannot tell", 1.0, {"cannot tell": 1.0}, evidence=(reason,), history=history, curves=curves,
                              advice=("Log the loss on validation rows after every epoch.",) if curves is None else
                              ("Validate on more rows, train for more epochs, and try a third of the learning rate: one that is "
                               "too high is the commonest reason for curves that jump.",) if "jumps" in reason else
                              ("Train for more epochs.",))
    shape = shape_of(curves.epochs, curves.train, curves.validation, offset=curves.offset)
    told = probabilities(shape.features, curves.kind)
    told = _tempered(told, len(curves.epochs))
    shown = hidden_training(curves, shape)
    summed: dict[str, float] = {}
    for leaf, p in told.items():
        name = _NAMES.get(leaf, PARENT.get(leaf, leaf))
        summed[name] = summed.get(name, 0.0) + p
    if shown:  # outside of what the model has seen: its training losses are clean ones
        summed = {k: v * (1 - shown) for k, v in summed.items()}
        summed["over-regularized"] += shown
    cause = max(summed, key=lambda k: summed[k])
    leaf = max((k for k in told if PARENT.get(k) == cause), key=lambda k: told[k], default="")
    when, numbers = _numbers(curves, shape)
    if cause == "overfits":
        when.update(began=when["best"], began_low=when["best_low"], began_high=when["best_high"])
    found = HistoryVerdict(cause, summed[cause], dict(sorted(summed.items(), key=lambda item: -item[1])), DETAILS.get(leaf, ""),
                           when=when, numbers=numbers, history=history, shape=shape, curves=curves,
                           overfitting=overfitting(shape.features, curves.kind))
    return replace(found, evidence=evidence(found, bool(shown)), advice=advice(found, bool(shown)))


def _broken(history: History, fault: Broken) -> HistoryVerdict:
    rest = {"over-regularized": 0.6 * (1 - fault.sure), "underfits": 0.4 * (1 - fault.sure)}
    return HistoryVerdict("broken set-up", fault.sure, {"broken set-up": fault.sure, **rest}, fault.detail, (fault.words,),
                          (fault.advice,), when={"at": fault.at} if fault.at is not None else {}, history=history,
                          curves=curves_of(history) if fault.detail != "not a number" else None)


def _tempered(told: dict[str, float], count: int) -> dict[str, float]:
    """Fewer epochs than the model has seen (8) say less: probabilities move towards even ones."""
    trust = min(1.0, count / 8)
    return {k: trust * p + (1 - trust) / len(told) for k, p in told.items()}


def _numbers(curves: Curves, shape: Shape) -> tuple[dict[str, float], dict[str, float]]:
    best, held = shape.best, shape.validation.values
    at = shape.epochs
    when = {"best": at[best.index], "best_low": at[min(best.low, best.index)],
            "best_high": at[min(max(best.high, best.index), len(at) - 1)], "last": at[-1]}
    differences = {"lost": best.rise, "lost_low": best.rise_low, "lost_high": best.rise_high, "noise": shape.validation.noise}
    values = {"best_value": held[best.index], "last_value": held[-1]}
    if shape.train is not None:
        train = shape.train.values
        differences |= {"gap": held[-1] - train[-1], "gap_at_best": held[best.index] - train[best.index]}
        values["last_train"] = train[-1]
    numbers = {k: curves.back(float(v)) for k, v in values.items()} | {k: curves.scale * float(v) for k, v in differences.items()}
    return {k: float(v) for k, v in when.items()}, numbers


def words(verdict: HistoryVerdict) -> list[str]:
    """The verdict as lines of plain text."""
    from wellfit.diagnosis.history.output import lines

    return lines(verdict)


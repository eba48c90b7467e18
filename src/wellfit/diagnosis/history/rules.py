"""What needs no model: a set-up that cannot have worked, curves that say nothing, and training losses that are not clean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wellfit.diagnosis.history.curves import Curves, curves_of
from wellfit.diagnosis.history.features import Shape
from wellfit.diagnosis.history.series import History
from wellfit.diagnosis.history.smooth import smooth, thinned

SHORTEST = 5
"""Fewer validated epochs than this say nothing about where a curve is going."""

_STILL, _EXPLODED, _BETTER, _CONSTANT, _NOISE = 0.004, 1e4, 0.35, 0.12, 1.4


@dataclass(frozen=True)
class Broken:
    """A fault of the set-up: which, how sure, in words, what to do, and at which epoch it shows."""

    detail: str
    sure: float
    words: str
    advice: str
    at: float | None = None


def broken(history: History) -> Broken | None:
    """A fault that needs no model to see; None when there is none."""
    return _not_a_number(history) or _shape_faults(history)


def _not_a_number(history: History) -> Broken | None:
    for name in ("train_loss", "validation_loss"):
        values = getattr(history, name)
        if values is None or len(values) == 0:
            continue
        finite = np.isfinite(values)
        infinite = np.isinf(values)
        # a column that is empty here and there was not logged there; one that ends in nan after numbers, or holds inf, diverged
        trailing = bool(finite.any()) and not finite[-1] and not finite[int(np.flatnonzero(finite)[-1]) + 1:].any() \
            and _other_goes_on(history, name, int(np.flatnonzero(finite)[-1]) + 1)
        if infinite.any() or trailing or not finite.any():
            at = int(np.flatnonzero(~finite)[0]) if not trailing else int(np.flatnonzero(finite)[-1]) + 1
            epoch = history.epochs[at]
            said = f"The {name.replace('_', ' ')} is not a finite number from {history.unit} {epoch:g} on."
            return Broken("not a number", 0.99, said,
                          "Lower the learning rate (a third of it first), clip the gradient norm, and look for logarithms of 0 and "
                          "divisions by 0 in the loss.", epoch)
        known = np.array(values, dtype=float)[finite]
        if len(known) > 2 and known[0] > 0 and known[-1] > _EXPLODED * max(known[0], 1e-12):
            at = int(np.flatnonzero(np.array(values, dtype=float) > 100 * known[0])[0])
            return Broken("diverged", 0.97, f"The {name.replace('_', ' ')} grows from {known[0]:.3g} to {known[-1]:.3g}.",
                          "Lower the learning rate: try a tenth.", history.epochs[at])
    return None


def _other_goes_on(history: History, name: str, start: int) -> bool:
    """Whether anything was logged after the place where this column ends (else the file just ends there), or nan was."""
    parts = ("train_loss", "validation_loss", "train_metric", "validation_metric", "rate")
    others = [getattr(history, part) for part in parts if part != name]
    return any(o is not None and np.isfinite(o[start:]).any() for o in others) or start < len(history)


def _shape_faults(history: History) -> Broken | None:
    curves = curves_of(history)
    if curves is None or len(curves.epochs) < SHORTEST:
        return None
    held = curves.validation
    if curves.train is None:
        return _no_movement(curves, held)
    train = curves.train
    if fault := _no_movement(curves, train):
        return fault
    if curves.kind == "loss" and train.min() > 0 and held.min() > 0:
        ratio = np.log(held) - np.log(train)
        middle = float(np.median(ratio))
        if middle < math.log(_BETTER) and float(np.std(ratio[1:])) < max(_CONSTANT, 0.25 * abs(middle)):
            said = (f"Validation loss is {math.exp(middle):.2g} times the training loss at nearly every epoch: the two are "
                    "not measured alike.")
            return Broken("validation far better", 0.85, said,
                          "Compare how both are computed: a sum against a mean, penalties or class weights in one of them, another "
                          "reduction over the last batch, or validation rows that are easier or leaked.")
    return None


def _no_movement(curves: Curves, values: np.ndarray) -> Broken | None:
    """The training curve stays where it began, up to noise."""
    _, points = thinned(curves.epochs, values)
    found = smooth(points)
    level = float(np.median(np.abs(points))) + curves.offset
    part = max(1, len(points) // 5)
    moved = abs(float(points[:part].mean() - points[-part:].mean())) / max(found.noise * math.sqrt(2 / part), 1e-12)
    extent = float(found.values.max() - found.values.min())
    if points.max() == points.min():
        # an accuracy stands still too where a network says the same of every row, for many reasons
        sure = 0.97 if curves.kind == "loss" else 0.5
        return Broken("no movement", sure, f"The {curves.name} has the same value at every epoch.",
                      "Nothing is learned: look for a learning rate of 0, frozen parameters, an optimizer built on other "
                      "parameters, a detached loss, or zero_grad() between backward() and step().")
    slow = extent < _STILL * level
    if slow and moved < 4 and curves.kind == "loss":
        said = (f"The training {curves.name} moves by {extent / level:.1%} of its level in {len(values)} epochs, no more than "
                "its noise.")
        return Broken("no movement", 0.6, said,
                      "Nothing is learned: look for a learning rate near 0, frozen parameters, an optimizer built on other "
                      "parameters, dead units, labels that do not belong to the rows, or a regularizer so strong that "
                      "only a constant is left.")
    return None


def uncertain(history: History, curves: Curves | None) -> str:
    """Why there can be no verdict; empty when there can."""
    if curves is None:
        return ("There is no validation loss and no validation metric, and a training curve alone cannot tell overfitting from a "
                "good fit.")
    count = len(curves.epochs)
    if count < SHORTEST:
        many = f"There are {count} validated epochs" if count != 1 else "There is one validated epoch"
        return f"{many}; fewer than {SHORTEST} say nothing about where a curve is going."
    _, points = thinned(curves.epochs, curves.validation)
    noise, level = smooth(points).noise, float(np.median(np.abs(points)))
    around = float(np.square(points - points.mean()).sum())
    # von Neumann's ratio: 2 for values that do not hang together, near 0 for a curve
    if len(points) >= 12 and noise > 0.1 * level and float(np.square(np.diff(points)).sum()) > _NOISE * around:
        return (f"The validation {curves.name} jumps by {noise / max(level, 1e-12):.0%} of its level from epoch to epoch, "
                "more than it changes over the whole training.")
    return ""


def hidden_training(curves: Curves, shape: Shape) -> float:
    """How sure it is that the training curve was measured with dropout, augmentation or penalties on: it lies above validation
    throughout, though training rows should be the easier ones. 0 where it does not."""
    if curves.train is None or shape.train is None:
        return 0.0
    above = float(np.mean(curves.train[1:] > curves.validation[1:]))
    lead = float(np.median(np.log(curves.train + curves.offset + 1e-12) - np.log(curves.validation + curves.offset + 1e-12)))
    if above < 0.85 or lead < 0.04:
        return 0.0
    return min(0.9, 0.35 + 2.0 * lead)

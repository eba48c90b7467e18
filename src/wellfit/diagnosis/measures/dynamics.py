"""What the loss curves of one training say: did it learn, was it still learning, did it swing, did it overfit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate, around

_TINY = 1e-12
_WINDOW = 5


def chance_level(y: np.ndarray, classes: int = 0, *, weights: np.ndarray | None = None) -> float:
    """Loss of the best answer that ignores the inputs.

    Classes: the cross-entropy of the class frequencies, -Σ_c w_c q_c log q̃_c / Σ_c w_c q_c with q̃ ∝ w·q (log C under balanced class
    weights, where the loss is a mean over rows weighted to one). Values: the variance (squared error).

    Args:
        y: (n,) class indices, or values in the unit in which the loss is taken (standardised targets: 1).
        classes: number of classes, 0 for values.
        weights: (C,) class weights of the loss.

    >>> round(chance_level(np.array([0, 0, 0, 1]), 2), 4), chance_level(np.array([1.0, 3.0]))
    (0.5623, 1.0)
    >>> round(chance_level(np.array([0, 0, 0, 1]), 2, weights=np.array([2 / 3, 2.0])), 4)  # log 2
    0.6931
    """
    y = np.asarray(y)
    if not classes:
        return float(np.var(y))
    share = np.bincount(y, minlength=classes) / len(y)
    if weights is not None:
        share = share * np.asarray(weights)
        share = share / share.sum()
    seen = share[share > 0]
    return float(-(seen * np.log(seen)).sum())


@dataclass(frozen=True)
class Dynamics:
    """Numbers of one history (averaged over runs where there are several). Shares are of the level they are about.

    Attributes:
        epochs: length.
        diverged: the loss is no number somewhere, or ends far above where it began (or above three times chance).
        learned: 1 - train loss / chance at the end: 0 is chance level, 1 is a perfect fit; nan where chance is not known.
        at_chance: learned less than 3% of what can be learned.
        falling: share by which the training loss would fall in as many epochs more as the last fifth has, with its interval
            from the scatter of the last third; above zero: training stopped too early.
        roughness: sd of the epoch-to-epoch swing of the log of the training loss around its own running median.
        rises: share of epochs at which the training loss rises by more than 1%.
        best_epoch: epoch (from 1) of the least validation loss, after smoothing; None without validation.
        overfit: share by which the validation loss ends above its least value (smoothed), with an interval.
        gap: validation less training loss at the end; nan without validation.
    """

    epochs: int
    diverged: bool
    learned: float
    at_chance: bool
    falling: Estimate
    roughness: float
    rises: float
    best_epoch: int | None
    overfit: Estimate
    gap: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def swings(self) -> bool:
        """A learning rate that is too high, as far as curves can show it: rises at a quarter of the epochs, by much."""
        return self.rises > 0.25 and self.roughness > 0.1


def dynamics(train_loss: Sequence[float] | np.ndarray, validation_loss: Sequence[float] | np.ndarray | None = None, *,
             chance: float | None = None) -> Dynamics:
    """Read the curves of a training.

    Slopes are of the log of the loss, by Theil and Sen's median of slopes, with the interval of a straight line whose residuals
    follow each other with the autocorrelation that they show: single epochs and spikes do not decide.

    Args:
        train_loss: (E,), or (runs, E): clean losses per epoch, without penalties.
        validation_loss: the same on rows that are not trained on.
        chance: loss without looking at inputs (:func:`chance_level`).

    Raises WellfitError for fewer than three epochs.
    Source: slopes: Theil 1950, Sen 1968; what curves show: Goodfellow et al. 2016, chapter 11.

    >>> found = dynamics([1.0, 0.6, 0.4, 0.3, 0.25, 0.22], [1.1, 0.8, 0.7, 0.75, 0.9, 1.1], chance=1.1)
    >>> found.best_epoch, found.diverged, found.at_chance, found.rises
    (3, False, False, 0.0)
    """
    train = _mean_curve(train_loss, "train_loss")
    held = None if validation_loss is None or np.size(validation_loss) == 0 else _mean_curve(validation_loss, "validation_loss")
    n = len(train)
    finite = bool(np.isfinite(train).all() and (held is None or np.isfinite(held).all()))
    # a few losses below zero (likelihoods of densities) have no log: such curves are lifted
    curve = np.where(np.isfinite(train), train, np.nanmax(train[np.isfinite(train)], initial=1.0))
    curve = curve - min(0.0, float(curve.min())) + _TINY * max(1.0, float(np.abs(curve).max()))
    end = float(np.median(train[-min(3, n):]))
    diverged = not finite or end > 1.5 * max(train[0], _TINY) + (0 if train[0] > 0 else 1)
    diverged = diverged or (chance is not None and end > 3 * chance)
    log = np.log(curve)
    tail = log[-max(4, n // 3):]
    slope = _slope(tail)
    ahead = max(1, n // 5)
    fall, low, high = (1 - math.exp(min(50.0, ahead * v)) for v in (slope.value, slope.high, slope.low))
    falling = Estimate(fall, low, high, slope.standard_error * ahead)
    swing = log - _running_median(log)
    learned = math.nan if chance is None or not finite else 1 - end / max(chance, _TINY)
    best, overfit, gap = _validation(held, end) if held is not None and finite else (None, Estimate(*[math.nan] * 3), math.nan)
    return Dynamics(n, bool(diverged), learned, bool(learned < 0.03), falling, float(np.std(np.diff(swing))) / 2**0.5,
                    float((np.diff(log) > 0.01).mean()), best, overfit, gap)


def _mean_curve(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    curve = np.asarray(values, dtype=np.float64)
    curve = curve.mean(axis=0) if curve.ndim == 2 else curve
    if curve.ndim != 1 or len(curve) < 3:
        raise WellfitError(f"{name} is too short to be read.", received=f"shape {np.shape(values)}",
                           expected="three epochs at least", action="log the loss of every epoch")
    return curve


def _validation(held: np.ndarray, train_end: float) -> tuple[int, Estimate, float]:
    smooth = _running_median(held)
    best = int(smooth.argmin())
    end = float(np.median(held[-min(3, len(held)):]))
    noise = float(np.std(held - smooth)) * 1.25  # the median of five takes part of the noise with it
    level = max(abs(float(smooth[best])), _TINY)
    rise = around((end - float(smooth[best])) / level, 2 * (noise / level) ** 2 / min(3, len(held)), max(len(held) - 2, 1))
    # the lowest of the curve is searched for, among the epochs near it the lowest one counts
    near = slice(max(0, best - _WINDOW // 2), best + _WINDOW // 2 + 1)
    return int(held[near].argmin()) + (near.start or 0) + 1, rise, end - train_end


def _running_median(values: np.ndarray) -> np.ndarray:
    half = _WINDOW // 2
    return np.array([np.median(values[max(0, i - min(half, i, len(values) - 1 - i)):i + min(half, i, len(values) - 1 - i) + 1])
                     for i in range(len(values))])


def _slope(values: np.ndarray) -> Estimate:
    """Slope per step: the median of slopes, with the standard error of least squares under autocorrelated residuals."""
    n = len(values)
    i, j = np.triu_indices(n, 1)
    slope = float(np.median((values[j] - values[i]) / (j - i)))
    t = np.arange(n) - (n - 1) / 2
    residual = values - np.median(values - slope * t) - slope * t
    variance = float((residual**2).sum()) / max(n - 2, 1)
    follow = float((residual[1:] * residual[:-1]).sum() / max(float((residual**2).sum()), 1e-300))
    inflation = (1 + max(0.0, min(follow, 0.9))) / (1 - max(0.0, min(follow, 0.9)))
    return around(slope, variance * inflation / float((t**2).sum()), max(n / inflation - 2, 1.0))

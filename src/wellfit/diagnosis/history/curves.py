"""The two curves that are judged: which quantity, turned so that lower is better, and back again for the reader."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.history.series import History


@dataclass(frozen=True)
class Curves:
    """Two curves where lower is better.

    Attributes:
        kind: "loss" or "metric".
        name: what the quantity is called.
        epochs, validation: (n,) finite.
        train: (n,) finite, or None.
        offset: to add before logarithms: of errors that may be 0.
        sign, shift, scale: the reader's value is ``shift + sign * scale * value``; differences are ``scale * difference``.
        higher_is_better: of the reader's value.
    """

    kind: str
    name: str
    epochs: np.ndarray
    validation: np.ndarray
    train: np.ndarray | None
    offset: float = 0.0
    sign: float = 1.0
    shift: float = 0.0
    scale: float = 1.0

    @property
    def higher_is_better(self) -> bool:
        """Of the value as the reader knows it."""
        return self.sign < 0

    def back(self, value: float) -> float:
        """A value as the reader knows it."""
        return self.shift + self.sign * self.scale * value


def curves_of(history: History) -> Curves | None:
    """The loss where there is a validation loss, else the metric; None where nothing was validated.

    Raises:
        WellfitError: there is only a metric, and it is not known which way it is better.
    """
    if (found := _pair(history, "loss")) is not None:
        at, train, held = found
        low = min(held.min(), train.min() if train is not None else held.min())
        if low < 0:  # a log-likelihood: moved up, so that ratios mean something
            spread = max(held.max(), train.max() if train is not None else held.max()) - low
            move = 0.05 * spread - low
            return Curves("loss", "loss", at, held + move, None if train is None else train + move, shift=-move)
        return Curves("loss", "loss", at, held, train)
    if (found := _pair(history, "metric")) is None:
        return None
    at, train, held = found
    name = history.metric.replace("_", " ") or "metric"
    if history.higher_is_better is None:
        raise WellfitError("It is not known whether this metric is better when it is higher.", received=name,
                           expected="higher_is_better=True or False")
    values = [held, *([] if train is None else [train])]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    if not history.higher_is_better:
        return Curves("metric", name, at, held, train, offset=0.01 * max(high, 1e-12))
    if low >= 0 and high <= 1:
        top, scale = 1.0, 1.0
    elif low >= 0 and 2 < high <= 100:  # percent
        top, scale = 100.0, 100.0
    else:
        top, scale = high + 0.02 * (high - low), max(high - low, 1e-12)
    return Curves("metric", name, at, (top - held) / scale, None if train is None else (top - train) / scale, offset=0.01,
                  sign=-1.0, shift=top, scale=scale)


def _pair(history: History, quantity: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray] | None:
    held = getattr(history, f"validation_{quantity}")
    if held is None or not np.isfinite(held).any():
        return None
    values, at = np.array(held, dtype=float), np.array(history.epochs, dtype=float)
    there = np.isfinite(values)
    train = getattr(history, f"train_{quantity}")
    if train is None or not np.isfinite(train).any():
        return at[there], None, values[there]
    known = np.isfinite(train)
    filled = np.interp(at, at[known], np.array(train, dtype=float)[known])
    return at[there], filled[there], values[there]

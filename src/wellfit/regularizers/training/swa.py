"""Stochastic weight averaging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from wellfit.core.hyper import hyper
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class SWA(Regularizer):
    """Stochastic weight averaging: the plain mean of the weights after each epoch from ``start`` on.

    ``start`` is a share of the run: 0.75 averages its last quarter. The mean is what is evaluated and returned, with batch
    norm statistics recomputed for it. Before ``start`` the current weights are evaluated.

    Shapes: any. Unit: share of the run.
    When it helps: long training at a learning rate that stays away from zero.
    When it hurts: a learning rate that has already decayed to nothing (the average then equals the end).
    Raises WellfitError for a start outside [0, 1], or when the plan was not told the number of epochs.
    Source: Izmailov et al. 2018.

    >>> SWA(0.75).start
    0.75
    """

    start: float = hyper(0.75, high=1.0, neutral=1.0, search=(0.3, 0.95), unit="share of the run", dynamic=False,
                         meaning="when averaging begins")

    order: ClassVar[int] = 95
    cadence: ClassVar[Literal["step", "epoch"]] = "epoch"

    def weight_of_current(self, taken: np.ndarray, progress: float, h: Values) -> tuple[np.ndarray, np.ndarray]:
        # at start = 1 nothing is averaged: the last epoch alone is the current weights
        active = progress > np.asarray(h.start, dtype=np.float64)
        taken = np.where(active, taken + 1, taken)
        return np.where(active, 1.0 / np.maximum(taken, 1), 1.0), taken

"""Lookahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.hyper import hyper
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class Lookahead(Regularizer):
    """Lookahead: every ``every`` steps the slow weights φ ← φ + share · (w - φ), and the fast ones start again there: w ← φ.

    The optimizer keeps its moments. Zeros that L1 or group lasso have made in w stay zeros in φ. What is evaluated are the current
    weights: choose ``every`` so that it divides the steps of an epoch, and that is φ.

    Shapes: any. Unit: share of the way, steps.
    When it helps: optimizers that swing: large learning rates, small batches.
    When it hurts: short runs and small learning rates, which it slows down by about the share.
    Raises WellfitError for a share outside (0, 1], or a number of steps below 1. Source: Zhang et al. 2019.

    >>> Lookahead(0.5, every=6).share
    0.5
    """

    share: float = hyper(0.5, high=1.0, open_low=True, neutral=1.0, search=(0.2, 0.9), unit="share of the way",
                         meaning="how far the slow weights follow")
    every: int = hyper(6, low=1, whole=True, search=(3, 20), unit="steps", dynamic=False, meaning="steps between two meetings")

    order: ClassVar[int] = 90
    stacked: ClassVar[bool] = False

    def share_of_fast(self, step: int, h: Values) -> float | None:
        return float(h.share) if step % int(h.every) == 0 else None

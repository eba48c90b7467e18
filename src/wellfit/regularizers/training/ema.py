"""Exponential moving average of the weights."""

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
class EMA(Regularizer):
    """Exponential moving average: ā ← d·ā + (1 - d)·w after every step; ā is what is evaluated and returned.

    d = min(decay, (1 + t)/(10 + t)) at step t, so that the start does not linger. Batch-norm statistics are recomputed for
    ā; they are not averaged along.

    Shapes: any. Unit: share kept per step.
    When it helps: noisy ends of training: small batches, a learning rate that does not fall to zero.
    When it hurts: a memory 1/(1 - decay) longer than the training itself.
    Raises WellfitError for a decay outside [0, 1). Source: Polyak & Juditsky 1992; Tarvainen & Valpola 2017.

    >>> EMA(0.99).decay
    0.99
    """

    decay: float = hyper(0.99, high=1.0, open_high=True, neutral=0.0, search=(0.9, 0.999), unit="share per step",
                         dynamic=False, meaning="share of the average kept at each step")

    order: ClassVar[int] = 95
    cadence: ClassVar[Literal["step", "epoch"]] = "step"
    conflicts: ClassVar[dict[str, str]] = {"swa": "there can be one average of the weights only"}

    def weight_of_current(self, taken: np.ndarray, progress: float, h: Values) -> tuple[np.ndarray, np.ndarray]:
        decay = np.minimum(np.asarray(h.decay, dtype=np.float64), (1.0 + taken) / (10.0 + taken))
        return 1.0 - decay, taken + 1

"""Noise on the targets of a regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import add_noise, spread


@register
@dataclass(frozen=True)
class TargetNoise(Regularizer):
    """Target noise: Gaussian noise on the targets of a regression, y ← y + std·s·n, n ~ N(0, 1), s the deviation of y in the batch.

    New noise at every step keeps the network from fitting each training target exactly; the mean of what it should predict
    stays. With several outputs each has its own s.

    Shapes: targets (B,) or (B, O), or (K, ...) of them; class targets pass unchanged. Unit: standard deviations of the target.
    When it helps: regression on few rows with noisy targets.
    When it hurts: targets without noise of their own; a few far values, which make s large; small batches, whose s is rough.
    Raises WellfitError for a negative std. Source: Wang & Principe 1999; Goodfellow et al. 2016, section 7.5.1.

    >>> TargetNoise(0.1).std
    0.1
    """

    std: float = hyper(0.1, neutral=0.0, search=(0.01, 0.5), scale="log", unit="target std",
                       meaning="standard deviation of the noise, in those of the target")

    order: ClassVar[int] = 41

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        y, axis = batch.targets, 1 if h.members else 0
        if batch.classes is not None or not y.dtype.is_floating_point:
            return batch
        return batch.with_(targets=add_noise(y, draw.normal(y.shape[axis:], y.dtype), spread(y, axis) * over(h.std, y)))

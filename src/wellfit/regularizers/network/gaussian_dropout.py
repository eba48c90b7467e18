"""Gaussian dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import placement
from wellfit.kernels.drop import gaussian_drop


@register
@dataclass(frozen=True)
class GaussianDropout(Regularizer):
    """Gaussian dropout: hidden activations are multiplied by normal noise with the mean and variance of dropout at ``rate``.

    a ← a·(1 + √(rate / (1 - rate))·n), n ~ N(0, 1), on what enters every layer but the first, or in place of the network's dropout
    modules. Nothing becomes exactly 0.

    Shapes: (B, D), (B, C, H, W), ... or (K, B, D). Unit: probability of the dropout with the same variance.
    When it helps: where dropout helps; no activation is lost whole, so training is smoother.
    When it hurts: as dropout; signs may flip at rates near 1/2 and above. Raises WellfitError for a rate outside [0, 1).
    Source: Srivastava et al. 2014, section 10.

    >>> GaussianDropout(0.2).rate
    0.2
    """

    rate: float = hyper(0.2, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.6), unit="probability",
                        meaning="rate of the dropout with the same variance")
    where: str = placement()

    order: ClassVar[int] = 42
    zeroes: ClassVar[bool] = False

    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        shape = activation.shape[1:] if h.members else activation.shape
        return gaussian_drop(activation, draw.normal(shape, activation.dtype), over(h.rate, activation))

"""Weight noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, WeightInfo
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import WEIGHT_KINDS, selection
from wellfit.kernels.noise import add_noise


@register
@dataclass(frozen=True)
class WeightNoise(Regularizer):
    """Weight noise: in training a layer computes with its weights plus normal noise; gradients go to the weights as they are.

    w̃ = w + std·n, n ~ N(0, 1), one n for all examples of a forward pass: a search for flat minima.

    Shapes: any weight. Unit: that of the weights.
    When it helps: recurrent networks, and weights that are to be stored in few bits.
    When it hurts: std near the size of the weights. Raises WellfitError for a negative std, or a selection without weights.
    Source: An 1996; Graves 2011.

    >>> WeightNoise(0.02).std
    0.02
    """

    std: float = hyper(0.01, neutral=0.0, search=(1e-3, 0.2), scale="log", unit="weight",
                       meaning="standard deviation of the noise on each weight")
    select: str = selection()

    order: ClassVar[int] = 53
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = WEIGHT_KINDS
    always: ClassVar[bool] = False

    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return add_noise(weight, draw.normal(weight.shape, weight.dtype), h.std)

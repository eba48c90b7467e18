"""DropConnect."""

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
from wellfit.kernels.noise import drop


@register
@dataclass(frozen=True)
class DropConnect(Regularizer):
    """DropConnect: in training a layer computes with weights that are 0 with probability ``rate``, else divided by 1 - rate.

    w̃ = w · m / (1 - rate), m ~ Bernoulli(1 - rate), one m for all examples of a forward pass. On recurrent weights
    (``select="*.weight_hh*"``) it is the weight-dropped LSTM of Merity et al. 2018. Parameters keep their names and values.

    Shapes: any weight. Unit: probability, met to 1/65536.
    When it helps: wide fully connected layers that overfit.
    When it hurts: narrow layers; small batches, since all examples share a mask. Raises WellfitError for a rate outside [0, 1), or
    a selection without weights. Source: Wan et al. 2013.

    >>> DropConnect(0.5, select="*.weight_hh*").select
    '*.weight_hh*'
    """

    rate: float = hyper(0.2, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.6), unit="probability",
                        meaning="probability of dropping a weight")
    select: str = selection()

    order: ClassVar[int] = 52
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = WEIGHT_KINDS
    always: ClassVar[bool] = False

    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return drop(weight, draw.bits16(weight.shape), h.rate)

"""Spatial dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Site, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import drop


@register
@dataclass(frozen=True)
class SpatialDropout(Regularizer):
    """Spatial dropout: whole channels of what enters a convolution (but the first) are 0 with probability ``rate``.

    a[b, c, ...] ← a[b, c, ...] · m[b, c] / (1 - rate), m ~ Bernoulli(1 - rate). Neighbouring positions of one channel say nearly
    the same, so that dropping single values takes little away.

    Shapes: (B, C, L), (B, C, H, W), (B, C, D, H, W). Unit: probability, met to 1/65536.
    When it helps: convolutional networks that overfit, whose neighbouring positions say the same.
    When it hurts: few channels, before a batch norm. Raises WellfitError for a rate outside [0, 1), or without a convolution
    behind the first layer. Source: Tompson et al. 2015.

    >>> SpatialDropout(0.1).rate
    0.1
    """

    rate: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.5), unit="probability",
                        meaning="probability of dropping a channel")

    order: ClassVar[int] = 43
    stacked: ClassVar[bool] = False
    sites: ClassVar[tuple[str, ...]] = ("convolution",)

    def on_site(self, activation: Tensor, site: Site, h: Values, draw: Draw) -> Tensor:
        return drop(activation, draw.bits16(site.draw_shape(activation, site.positions)), h.rate)

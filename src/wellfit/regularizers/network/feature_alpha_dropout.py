"""Feature alpha dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Site, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.drop import alpha_drop


@register
@dataclass(frozen=True)
class FeatureAlphaDropout(Regularizer):
    """Feature alpha dropout: whole channels of what enters a convolution (but the first) saturate, as in AlphaDropout.

    y[b, c, ...] = a·(x[b, c, ...]·m[b, c] + α'·(1 - m[b, c])) + b, m ~ Bernoulli(1 - rate), α' = -1.7581.

    Shapes: (B, C, L), (B, C, H, W), (B, C, D, H, W). Unit: probability, met to 1/65536.
    When it helps: convolutional networks of SELUs that overfit.
    When it hurts: activations other than SELU. Raises WellfitError for a rate outside [0, 1), or without a convolution behind
    the first layer. Source: Klambauer et al. 2017; by channels as in Tompson et al. 2015.

    >>> FeatureAlphaDropout(0.05).rate
    0.05
    """

    rate: float = hyper(0.05, high=1.0, open_high=True, neutral=0.0, search=(0.01, 0.3), unit="probability",
                        meaning="probability that a channel saturates")

    order: ClassVar[int] = 44
    stacked: ClassVar[bool] = False
    zeroes: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False
    sites: ClassVar[tuple[str, ...]] = ("convolution",)

    def on_site(self, activation: Tensor, site: Site, h: Values, draw: Draw) -> Tensor:
        return alpha_drop(activation, draw.bits16(site.draw_shape(activation, site.positions)), h.rate)

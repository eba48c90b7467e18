"""Equalized histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.pixels import white
from wellfit.kernels.tone import equalize
from wellfit.regularizers.images.frame import chosen
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class Equalize(Regularizer):
    """With probability ``rate`` an image's levels are spread so that each is used about equally often.

    Each channel's histogram over 256 levels is equalized; floating-point values are rounded to levels.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Unit: probability.
    When it helps: pictures whose contrast differs between cameras or sites.
    When it hurts: lightness that carries the label.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no images of light. Source: Cubuk et al. 2019.

    >>> Equalize(rate=0.2).rate
    0.2
    """

    rate: float = hyper(0.2, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that an image is changed")

    order: ClassVar[int] = 15
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        top, rows = white(batch.inputs.dtype), batch.inputs.shape[1 if h.members else 0]
        selected = chosen(draw, rows, h)
        return recoloured(self, batch, h, selected, lambda x, rows: equalize(x, top))

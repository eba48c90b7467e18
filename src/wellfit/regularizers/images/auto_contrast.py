"""Stretched contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.pixels import white
from wellfit.kernels.tone import auto_contrast
from wellfit.regularizers.images.frame import chosen
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class AutoContrast(Regularizer):
    """With probability ``rate`` an image is stretched so that each channel runs from black to white.

    x ← (x - min x)/(max x - min x) · white for each channel of each image; a flat channel stays.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Unit: probability.
    When it helps: pictures taken in different light or by different cameras.
    When it hurts: lightness that carries the label.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no images of light. Source: Cubuk et al. 2019.

    >>> AutoContrast(rate=0.2).rate
    0.2
    """

    rate: float = hyper(0.2, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that an image is changed")

    order: ClassVar[int] = 15
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        top, rows = white(batch.inputs.dtype), batch.inputs.shape[1 if h.members else 0]
        selected = chosen(draw, rows, h)
        return recoloured(self, batch, h, selected, lambda x, rows: auto_contrast(x, top))

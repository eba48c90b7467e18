"""Fewer levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.pixels import white
from wellfit.kernels.tone import posterize
from wellfit.regularizers.images.frame import chosen
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class Posterize(Regularizer):
    """With probability ``rate`` an image keeps only the first ``bits`` bits of its values.

    v ← ⌊v/2^(8 - bits)⌋·2^(8 - bits) on the levels 0 to 255.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Unit: bits; probability.
    When it helps: pictures from cameras and codecs of different quality.
    When it hurts: fine differences of lightness that carry the label.
    Raises WellfitError for values outside their ranges, and for inputs that are no images of light. Source: Cubuk et al. 2019.

    >>> Posterize(rate=0.2).rate
    0.2
    """

    bits: int = hyper(4, low=1, high=8, whole=True, search=(3, 7), unit="bits", dynamic=False,
                     meaning="bits of a value that are kept")
    rate: float = hyper(0.2, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that an image is changed")

    order: ClassVar[int] = 15
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        top, rows = white(batch.inputs.dtype), batch.inputs.shape[1 if h.members else 0]
        selected = chosen(draw, rows, h)
        bits = torch.ones_like(selected, dtype=torch.float64).mul_(over(h.bits, selected)).flatten()
        return recoloured(self, batch, h, selected, lambda x, rows: posterize(x, bits[rows].to(x.device), top))

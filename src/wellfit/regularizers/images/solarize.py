"""Inverted highlights."""

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
from wellfit.kernels.tone import solarize
from wellfit.regularizers.images.frame import chosen
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class Solarize(Regularizer):
    """Solarize: with probability ``rate`` values of at least ``threshold`` are inverted, x ← white - x.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Unit: share of white; probability.
    When it helps: as one operation among many (RandAugment, TrivialAugment); seldom alone.
    When it hurts: lightness that carries the label.
    Raises WellfitError for values outside their ranges, and for inputs that are no images of light. Source: Cubuk et al. 2019.

    >>> Solarize(rate=0.2).rate
    0.2
    """

    threshold: float = hyper(0.5, high=1.0, search=(0.2, 0.95), unit="share of white", meaning="the darkest value that is inverted")
    rate: float = hyper(0.2, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that an image is changed")

    order: ClassVar[int] = 15
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        top, rows = white(batch.inputs.dtype), batch.inputs.shape[1 if h.members else 0]
        selected = chosen(draw, rows, h)
        threshold = torch.ones_like(selected, dtype=torch.float64).mul_(over(h.threshold, selected)).flatten()
        return recoloured(self, batch, h, selected, lambda x, rows: solarize(x, threshold[rows].to(x.device), top))

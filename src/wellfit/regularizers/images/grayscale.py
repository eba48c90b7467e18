"""Colour images without their colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.colour import grey
from wellfit.regularizers.images.frame import chosen
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class Grayscale(Regularizer):
    """Grayscale: with probability ``rate`` an image loses its colours, r, g, b ← 0.299 r + 0.587 g + 0.114 b.

    The image keeps its three channels; grey images stay as they are.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Unit: probability.
    When it helps: colours that mislead: shape or texture carries the label.
    When it hurts: colour that carries the label.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no images of light. Source: Chen et al. 2020.

    >>> Grayscale(0.2).rate
    0.2
    """

    rate: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.05, 0.5), unit="probability",
                        meaning="probability that an image is changed")

    order: ClassVar[int] = 12
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        selected = chosen(draw, batch.inputs.shape[1 if h.members else 0], h)
        if batch.inputs.shape[-3] == 1:
            selected = selected & False
        return recoloured(self, batch, h, selected, lambda x, rows: grey(x))

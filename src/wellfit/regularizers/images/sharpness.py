"""Random sharpness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.smooth import sharpen
from wellfit.regularizers.images.frame import evenly
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class Sharpness(Regularizer):
    """Sharpness: every image is sharpened or softened, x ← s + f·(x - s), f ~ U(1 - change, 1 + change).

    s is the mean of the 3 x 3 pixels around with the middle counted five times; the outermost pixels stay.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Unit: change of a factor.
    When it helps: pictures from cameras of different quality.
    When it hurts: fine texture that carries the label.
    Raises WellfitError for a change outside [0, 1], and for inputs that are no images of light. Source: Cubuk et al. 2019.

    >>> Sharpness(0.5).change
    0.5
    """

    change: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.1, 1.0), unit="change of a factor",
                          meaning="largest change of the sharpness")

    order: ClassVar[int] = 14
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        change = evenly(draw, batch.inputs.shape[1 if h.members else 0])
        change = change * over(h.change, change)
        flat = change.flatten()
        return recoloured(self, batch, h, change != 0, lambda x, rows: sharpen(x, (1 + flat[rows]).to(x.device)))

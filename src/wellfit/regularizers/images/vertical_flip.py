"""Flips of top and bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.warp import about_centre
from wellfit.regularizers.images.frame import chosen


@register
@dataclass(frozen=True)
class VerticalFlip(Regularizer):
    """Vertical flip: with probability ``rate`` an image has top and bottom exchanged, x[i, j] ← x[H - 1 - i, j].

    Pixels are moved, never interpolated.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Unit: probability.
    When it helps: views from above: microscopy, satellites.
    When it hurts: everything with an upright: photographs of scenes, text.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no images. Source: Ciresan et al. 2012.

    >>> VerticalFlip(0.5).name
    'vertical_flip'
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.1, 0.5), unit="probability",
                        meaning="probability that an image is flipped")

    order: ClassVar[int] = 5
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = True
    border: ClassVar[None] = None

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        flipped = chosen(draw, size[0], h).double()
        return about_centre(1.0, 0.0, 0.0, 1 - 2 * flipped, size[1], size[2], flipped)

"""Turns by right angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.warp import about_centre
from wellfit.regularizers.images.frame import chosen


@register
@dataclass(frozen=True)
class QuarterTurns(Regularizer):
    """With probability ``rate`` an image is turned by 90, 180 or 270 degrees, each equally likely.

    Pixels are moved, never interpolated.

    Shapes: square images (B, C, H, H) or (K, B, C, H, H), uint8 or float. Unit: probability.
    When it helps: views from above: microscopy, satellites.
    When it hurts: everything with an upright. Made for views from above: microscopy, satellites.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no square images. Source: Cohen & Welling 2016.

    >>> QuarterTurns(0.75).rate
    0.75
    """

    rate: float = hyper(0.75, high=1.0, neutral=0.0, search=(0.1, 0.75), unit="probability",
                        meaning="probability that an image is turned")

    order: ClassVar[int] = 5
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = True
    border: ClassVar[None] = None

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        if size[1] != size[2]:
            raise WellfitError("A quarter turn would change the shape of these images.",
                               received=f"height {size[1]}, width {size[2]}", expected="square images",
                               action="use flips, or resize the images to squares")
        turns = (1 + draw.integers(3, (size[0],))) * chosen(draw, size[0], h)
        cos, sin = (1 - turns) * (turns != 3), (2 - turns) * (turns % 2 == 1)
        return about_centre(cos.double(), sin.double(), -sin.double(), cos.double(), size[1], size[2], turns)

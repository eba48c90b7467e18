"""Rotation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.warp import about_centre
from wellfit.regularizers.images.frame import border, evenly


@register
@dataclass(frozen=True)
class Rotation(Regularizer):
    """Every image is turned about its centre by an angle a ~ U(-degrees, degrees).

    x[p] ← x[c + R(a)(p - c)] with bilinear interpolation, c the centre of the image.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Unit: degrees.
    When it helps: things photographed or written at slightly different angles.
    When it hurts: orientation that carries the label (6 and 9), large angles on scenes with an upright.
    Raises WellfitError for an angle outside [0, 180], and for inputs that are no images. Source: Simard et al. 2003.

    >>> Rotation(15).degrees
    15
    """

    degrees: float = hyper(15.0, high=180.0, neutral=0.0, search=(3.0, 45.0), scale="log", unit="degrees",
                           meaning="largest angle to either side")
    border: str = border()

    order: ClassVar[int] = 7
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = False

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        u = evenly(draw, size[0])
        angle = u * (over(h.degrees, u) * (math.pi / 180))
        cos, sin = angle.cos(), angle.sin()
        return about_centre(cos, sin, -sin, cos, size[1], size[2], u)

"""Shear."""

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
class Shear(Regularizer):
    """Every image is slanted along both axes by angles a, b ~ U(-degrees, degrees).

    x[p] ← x[c + S(p - c)] with S = [[1, tan a], [tan b, 1]] and bilinear interpolation, c the centre of the image.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Unit: degrees.
    When it helps: handwriting, and things seen from slightly different sides.
    When it hurts: shapes whose angles carry the label.
    Raises WellfitError for an angle outside [0, 45), and for inputs that are no images. Source: Simard et al. 2003.

    >>> Shear(10).degrees
    10
    """

    degrees: float = hyper(10.0, high=45.0, open_high=True, neutral=0.0, search=(2.0, 30.0), scale="log", unit="degrees",
                           meaning="largest slant to either side")
    border: str = border()

    order: ClassVar[int] = 8
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = False

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        a, b = evenly(draw, size[0]), evenly(draw, size[0])
        most = over(h.degrees, a) * (math.pi / 180)
        return about_centre(1.0, (a * most).tan(), (b * most).tan(), 1.0, size[1], size[2], a)

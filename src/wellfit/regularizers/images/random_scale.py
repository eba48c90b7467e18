"""Random enlargement and reduction."""

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
class RandomScale(Regularizer):
    """Every image is enlarged or reduced about its centre by a factor s, log-uniform in [1/factor, factor].

    x[p] ← x[c + (p - c)/s] with bilinear interpolation, c the centre of the image. Reduction does not smooth first: keep the
    factor below about 2.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Unit: factor.
    When it helps: objects seen from different distances.
    When it hurts: size that carries the label.
    Raises WellfitError for a factor below 1, and for inputs that are no images. Source: Simonyan & Zisserman 2015.

    >>> RandomScale(1.3).factor
    1.3
    """

    factor: float = hyper(1.2, low=1.0, neutral=1.0, search=(1.05, 1.6), scale="log", unit="factor",
                          meaning="largest enlargement, and largest reduction")
    border: str = border()

    order: ClassVar[int] = 6
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = False

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        u = evenly(draw, size[0])
        most = over(h.factor, u)
        step = u.mul(most.log() if isinstance(most, Tensor) else math.log(most)).neg().exp()
        return about_centre(step, 0.0, 0.0, step, size[1], size[2], u)

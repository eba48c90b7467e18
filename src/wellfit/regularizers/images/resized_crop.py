"""Crops of random size and shape, brought back to full size."""

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
from wellfit.kernels.warp import affine


@register
@dataclass(frozen=True)
class ResizedCrop(Regularizer):
    """Resized crop: a random part of each image is enlarged to the image's own size, x[p] ← x[o + s·p].

    The part covers a share a ~ U(scale, 1) of the area; width over height changes by a factor r, log-uniform in
    [1/aspect, aspect]; where it would be larger than the image it is cut to it; its place is uniform among those inside.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Units: share of the area, factor.
    When it helps: photographs of objects at any size and place, larger than about 64 pixels.
    When it hurts: size or shape that carries the label, small images (nothing is sharper than its pixels).
    Raises WellfitError for values outside their ranges, and for inputs that are no images. Source: Szegedy et al. 2015.

    >>> ResizedCrop(0.3).scale
    0.3
    """

    scale: float = hyper(0.5, high=1.0, open_low=True, neutral=1.0, search=(0.2, 0.95), unit="share of the area",
                         meaning="smallest share of the image that is kept")
    aspect: float = hyper(4 / 3, low=1.0, neutral=1.0, search=(1.05, 2.0), scale="log", unit="factor",
                          meaning="largest change of width over height")

    order: ClassVar[int] = 4
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = False
    border: ClassVar[None] = None

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        batch, height, width = size
        area, shape, across, down = draw.uniform((4, batch)).unbind(-2)
        least = over(h.scale, area)
        area = least + (1 - least) * area
        most = over(h.aspect, shape)
        ratio = (shape * 2 - 1).mul(most.log() if isinstance(most, Tensor) else math.log(most)).exp()
        x, y = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        return affine(x, 0, _start(x, across, width), 0, y, _start(y, down, height), area)


def _start(part: Tensor, place: Tensor, size: int) -> Tensor:
    """Where the centre of the first output pixel is read, for a part of the axis at a ``place`` in (0, 1)."""
    return place * (1 - part) * size + (part - 1) / 2

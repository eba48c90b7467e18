"""Translation by a share of the size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.warp import affine
from wellfit.regularizers.images.frame import border, evenly


@register
@dataclass(frozen=True)
class Translation(Regularizer):
    """Every image is shifted by up to a share of its size, rounded to whole pixels.

    x[i, j] ← x[i + round(a·H), j + round(b·W)] with a, b ~ U(-share, share). Pixels are moved, never interpolated.
    RandomCrop is the same with a shift counted in pixels.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Unit: share of the height and of the width.
    When it helps: things that are not exactly centred.
    When it hurts: positions that carry the label.
    Raises WellfitError for a share outside [0, 1], and for inputs that are no images. Source: Simard et al. 2003.

    >>> Translation(0.1).share
    0.1
    """

    share: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.4), scale="log", unit="share of the size",
                         meaning="largest shift in each direction")
    border: str = border()

    order: ClassVar[int] = 4
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = True

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        x, y = evenly(draw, size[0]), evenly(draw, size[0])
        most = over(h.share, x)
        return affine(1, 0, (x * most * size[2]).round(), 0, 1, (y * most * size[1]).round(), x)

"""What the geometric parts share: the border they read beyond the frame, and draws for each image."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import option
from wellfit.core.operands import Values, over


def border() -> Any:
    """Declare what lies outside of the image."""
    return option("zero", choices=("zero", "reflect"),
                  meaning="what lies outside of the image: zero, or the image mirrored at its outermost pixels")


def evenly(draw: Draw, batch: int) -> Tensor:
    """(B,) or (K, B) draws, uniform in (-1, 1)."""
    return draw.uniform((batch,)) * 2 - 1


def chosen(draw: Draw, batch: int, h: Values) -> Tensor:
    """(B,) or (K, B): which images a part with a ``rate`` acts on."""
    u = draw.uniform((batch,))
    return u < over(h.rate, u)

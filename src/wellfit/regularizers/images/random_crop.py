"""Random crops with padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.warp import affine
from wellfit.regularizers.images.frame import border


@register
@dataclass(frozen=True)
class RandomCrop(Regularizer):
    """Random crops: every image is shifted by whole pixels, as if padded on all sides and cut back to its size.

    x[i, j] ← x[i + a, j + b] with a, b uniform over the whole numbers from -padding to padding, for every image. Outside of
    the image lies zero (black for pixels, the mean of standardized images) or its mirror image. Pixels are moved, never
    interpolated.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Unit: pixels.
    When it helps: few images of objects that are not exactly centred.
    When it hurts: objects that touch the frame, positions that carry the label.
    Raises WellfitError for a padding that is negative or not whole, and for inputs that are no images.
    Source: Krizhevsky, Sutskever & Hinton 2012; with padding Lin, Chen & Yan 2014.

    >>> RandomCrop(4, border="reflect").padding
    4
    """

    padding: float = hyper(4, neutral=0, whole=True, search=(1, 8), unit="pixels", dynamic=False,
                         meaning="largest shift in each direction")
    border: str = border()

    order: ClassVar[int] = 4
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = True

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        x, y = (_whole(draw.uniform((size[0],)), h.padding) for _ in range(2))
        return affine(1, 0, x, 0, 1, y, x)


def _whole(u: Tensor, padding: Any) -> Tensor:
    """Uniform over the whole numbers from -padding to padding."""
    most = over(padding, u)
    return (u * (2 * most + 1)).floor().sub(most).clamp(max=most)

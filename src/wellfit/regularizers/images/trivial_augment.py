"""TrivialAugment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.regularizers.images.frame import border
from wellfit.regularizers.images.light import light
from wellfit.regularizers.images.policy import OPERATIONS, Reach, geometry, recolour_

_WIDE = Reach(shear=0.99, translate=1.0, rotate=135.0, factor=0.99, bits=6)


@register
@dataclass(frozen=True)
class TrivialAugment(Regularizer):
    """TrivialAugment: with probability ``rate`` an image undergoes one operation, drawn from 14, of a random magnitude.

    The operations are: nothing, shear and translation along either axis, rotation, brightness, saturation, contrast, sharpness,
    posterize, solarize, auto-contrast and equalize. The magnitude is m ~ U(0, magnitude) with a random sign where there are two
    directions. At m = 1: shear by 0.99 pixels per pixel, translation by the whole size, rotation by 135 degrees, factors of
    1 ± 0.99, posterize to 2 bits, solarize everything (the paper's "wide" space, whose 32 pixels are the size of its images).
    Movements become part of the one sample that all geometry shares.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Units: probability; share of the largest magnitude.
    When it helps: few photographs of many kinds, with nothing to tune.
    When it hurts: orientation, position or colour that carry the label; small magnitudes suit fine-grained classes.
    Raises WellfitError for values outside their ranges, and for inputs that are no images of light.
    Source: Müller & Hutter 2021.

    >>> TrivialAugment().magnitude
    1.0
    """

    rate: float = hyper(1.0, high=1.0, neutral=0.0, search=(0.2, 1.0), unit="probability",
                        meaning="probability that an image is changed")
    magnitude: float = hyper(1.0, high=1.0, search=(0.1, 1.0), unit="share of the largest magnitude",
                             meaning="largest magnitude of an operation")
    border: str = border()

    order: ClassVar[int] = 9
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = False

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        return geometry(*self._drawn(size[0], h, draw), _WIDE, size)

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        flat = light(self, batch.inputs, h.members).clone()
        operation, magnitude = self._drawn(batch.inputs.shape[1 if h.members else 0], h, draw)
        recolour_(flat, operation.flatten(), magnitude.flatten(), _WIDE)
        return batch.with_(inputs=flat.view_as(batch.inputs))

    def _drawn(self, rows: int, h: Values, draw: Draw) -> tuple[Tensor, Tensor]:
        """Operation and signed magnitude for each image; the same for warp and transform, which are given the same draw."""
        lottery, sign = draw.uniform((rows,)), draw.uniform((rows,))
        operation = draw.integers(len(OPERATIONS), (rows,)) * (lottery < over(h.rate, lottery))
        size = draw.uniform((rows,))
        return operation, (size * over(h.magnitude, size)).where(sign < 0.5, -size * over(h.magnitude, size))

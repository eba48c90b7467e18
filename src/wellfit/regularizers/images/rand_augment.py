"""RandAugment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.regularizers.images.frame import border
from wellfit.regularizers.images.light import light
from wellfit.regularizers.images.policy import OPERATIONS, Reach, geometry, recolour_

_REACH = Reach(shear=0.3, translate=0.45, rotate=30.0, factor=0.9, bits=4)


@register
@dataclass(frozen=True)
class RandAugment(Regularizer):
    """RandAugment: every image undergoes some operations, drawn from 14 with repetition, all of one magnitude.

    The operations are: nothing, shear and translation along either axis, rotation, brightness, saturation, contrast, sharpness,
    posterize, solarize, auto-contrast and equalize; those with two directions take one at random. At magnitude 1 (the paper's
    30): shear by 0.3 pixels per pixel, translation by 0.45 of the size, rotation by 30 degrees, factors f = 1 ± 0.9, posterize to
    4 bits, solarize everything. Movements come before changes of colour and become part of the one sample that all geometry
    shares.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Units: operations; share of the largest magnitude.
    When it helps: few photographs of many kinds, when there is no time to choose operations one by one.
    When it hurts: orientation, position or colour that carry the label.
    Raises WellfitError for values outside their ranges, and for inputs that are no images of light. Source: Cubuk et al. 2020.

    >>> RandAugment(2, magnitude=0.3).operations
    2
    """

    operations: int = hyper(2, high=8, neutral=0, whole=True, search=(1, 4), unit="operations", dynamic=False,
                            meaning="operations for each image")
    magnitude: float = hyper(0.3, high=1.0, search=(0.1, 1.0), unit="share of the largest magnitude",
                             meaning="magnitude of every operation")
    border: str = border()

    order: ClassVar[int] = 9
    takes: ClassVar[str] = "images"
    lattice: ClassVar[bool] = False

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor:
        maps: Tensor | None = None
        for operation, magnitude in self._drawn(size[0], h, draw):
            own = geometry(operation, magnitude, _REACH, size)
            maps = own if maps is None else maps @ own
        if maps is None:
            return geometry(*(draw.uniform(size[:1]) * 0,) * 2, _REACH, size)
        return maps

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        flat = light(self, batch.inputs, h.members).clone()
        for operation, magnitude in self._drawn(batch.inputs.shape[1 if h.members else 0], h, draw):
            recolour_(flat, operation.flatten(), magnitude.flatten(), _REACH)
        return batch.with_(inputs=flat.view_as(batch.inputs))

    def _drawn(self, rows: int, h: Values, draw: Draw) -> list[tuple[Tensor, Tensor]]:
        """Operation and signed magnitude for each image, one pair after another: the same for warp and transform."""
        found = []
        for turn in range(int(torch.as_tensor(h.operations).max())):
            sign, operation = draw.uniform((rows,)), draw.integers(len(OPERATIONS), (rows,))
            here = over(h.operations, sign) > turn
            magnitude = torch.ones_like(sign) * over(h.magnitude, sign)
            found.append((operation * here, magnitude.where(sign < 0.5, -magnitude)))
        return found

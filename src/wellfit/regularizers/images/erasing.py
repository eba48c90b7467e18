"""Random erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wellfit.core.batches import image_size
from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.box import box, paste
from wellfit.kernels.pixels import white
from wellfit.regularizers.images.frame import chosen


@register
@dataclass(frozen=True)
class Erasing(Regularizer):
    """Random erasing: with probability ``rate`` a box of an image is wiped out.

    The box covers a share a ~ U(0.02, share) of the image's area (all of it ``share`` where that is smaller), its height over
    its width is log-uniform in [1/aspect, aspect], cut to the image; its place is uniform among those inside. It is filled with
    zeros (black for pixels, the mean of standardized images), or with uniform noise in the range of pixels.

    Shapes: images (B, C, H, W) or (K, B, C, H, W), uint8 or float. Units: probability, share of the area, factor.
    When it helps: objects that are partly hidden in use.
    When it hurts: small decisive objects.
    Raises WellfitError for values outside their ranges, and for inputs that are no images. Source: Zhong et al. 2017.

    >>> Erasing(0.5, fill="noise").share
    0.33
    """

    rate: float = hyper(0.25, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that an image loses a box")
    share: float = hyper(0.33, high=1.0, search=(0.05, 0.5), unit="share of the area", meaning="largest share of an image erased")
    aspect: float = hyper(3.3, low=1.0, unit="factor", meaning="largest ratio of the sides of a box")
    fill: str = option("zero", choices=("zero", "noise"), meaning="what the box is filled with")

    order: ClassVar[int] = 18
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = batch.inputs
        rows, height, width = image_size(self, x, h.members)
        selected = chosen(draw, rows, h)
        part, shape, across, down = draw.uniform((4, rows)).unbind(-2)
        most, longest = over(h.share, part), over(h.aspect, part)
        least = most.clamp(max=_LEAST) if isinstance(most, Tensor) else min(most, _LEAST)
        pixels = (least + (most - least) * part) * selected * (height * width)
        ratio = (shape * 2 - 1).mul(longest.log() if isinstance(longest, Tensor) else math.log(longest)).exp()
        high, wide = (pixels * ratio).sqrt().clamp(max=height).round(), (pixels / ratio).sqrt().clamp(max=width).round()
        x_middle = (wide / 2 + across * (width - wide)) / width
        y_middle = (high / 2 + down * (height - high)) / height
        boxes = box(x_middle, y_middle, wide, high, width, height).view(-1, 4)
        filling = self._noise(x, draw, h.members) if self.fill == "noise" else None
        return batch.with_(inputs=paste(x.reshape(-1, *x.shape[-3:]), filling, boxes).view_as(x))

    def _noise(self, images: Tensor, draw: Draw, members: bool) -> Tensor:
        bits = draw.bits16(images.shape[1:] if members else images.shape).reshape(-1, *images.shape[-3:]).to(images.device)
        if images.dtype == torch.uint8:
            return ((bits >> 8) + 128).to(torch.uint8)
        return ((bits.to(images.dtype) + 32768.5) / 65536).mul_(white(images.dtype))


#: A box covers at least this share of the image.
_LEAST = 0.02

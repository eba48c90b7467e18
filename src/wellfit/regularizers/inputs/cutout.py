"""Cutout for rows of a table and for images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.box import paste
from wellfit.kernels.mix import select_columns
from wellfit.kernels.noise import happens
from wellfit.regularizers.inputs.boxes import square_box
from wellfit.regularizers.inputs.features import feature_mask


@register
@dataclass(frozen=True)
class Cutout(Regularizer):
    """Cutout: with probability ``rate`` an example loses a ``share`` of what it shows (set to 0).

    Rows of a table lose each feature with probability ``share``; 0 is the centre of a standardized feature and "no category"
    of a one-hot one; columns that encode one source feature go together. Images lose a box of ``share`` of their area, in the
    image's proportions and with its middle anywhere in the image (what sticks out is not cut).

    Shapes: rows (B, D), images (B, C, H, W), or (K, ...) of them. Units: probability, share.
    When it helps: objects that are partly hidden in use; tables of many redundant features.
    When it hurts: targets that need all features at once, few features, small decisive objects.
    Raises WellfitError for values outside their ranges, and for other inputs. Source: DeVries & Taylor 2017; on rows of tables
    Kadra et al. 2021.

    >>> Cutout(0.5, share=0.2).share
    0.2
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that a row or an image is cut")
    share: float = hyper(0.2, high=1.0, search=(0.05, 0.7), unit="probability",
                         meaning="share of the features, or of an image's area, that is lost")

    order: ClassVar[int] = 22

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = batch.inputs
        lottery = draw.bits16((x.shape[1 if h.members else 0],))
        applied = happens(lottery, over(h.rate, lottery))
        cut = applied.double() * over(h.share, lottery)
        if x.ndim == (5 if h.members else 4):
            boxes, _ = square_box(x, cut, draw)
            return batch.with_(inputs=paste(x.reshape(-1, *x.shape[-3:]), None, boxes.view(-1, 4)).view_as(x))
        taken, _ = feature_mask(batch, cut, draw, h.members)
        return batch.with_(inputs=select_columns(x, x.new_zeros(()), ~taken))

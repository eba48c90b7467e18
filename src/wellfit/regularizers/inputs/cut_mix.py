"""CutMix for rows of a table and for images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import mix, partners, select_columns
from wellfit.kernels.noise import happens
from wellfit.regularizers.inputs.boxes import paste_partners, square_box
from wellfit.regularizers.inputs.features import feature_mask
from wellfit.regularizers.targets.soft import soften


@register
@dataclass(frozen=True)
class CutMix(Regularizer):
    """CutMix: a part of each example comes from another one of its batch, and the target is shared accordingly.

    With probability ``rate`` per example, with λ ~ U(0, 1) and y ← s·y + (1 - s)·y', s the share actually kept.
    Rows of a table keep each feature with probability λ and take the others from the partner; columns that encode one source
    feature move together. Images take a box of a share 1 - λ of their area, in the image's proportions and with its middle
    anywhere in the image (what sticks out is not taken).

    Shapes: rows (B, D), images (B, C, H, W), or (K, ...) of them. Unit: probability.
    When it helps: few images of objects that fill the frame; tables of many features.
    When it hurts: targets that hang on a single feature, on exact combinations of features, or on a small part of an image.
    Raises WellfitError for a rate outside [0, 1], and for other inputs. Source: Yun et al. 2019; on rows of tables
    Kadra et al. 2021.

    >>> CutMix(0.5).name
    'cut_mix'
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that a row or an image is mixed")

    order: ClassVar[int] = 21
    mixes_targets: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        axis = 1 if h.members else 0
        x, targets = batch.inputs, soften(batch)
        rows = x.shape[axis]
        shift = draw.integers(max(rows - 1, 1)) + 1
        lottery = draw.bits16((rows,))
        applied = happens(lottery, over(h.rate, lottery))
        cut = 1 - draw.uniform((rows,)).masked_fill(~applied, 1.0)
        if x.ndim == (5 if h.members else 4):
            boxes, share_taken = square_box(x, cut, draw)
            return self._mixed(batch, targets, paste_partners(x, shift, boxes), shift, share_taken, axis)
        taken, share_taken = feature_mask(batch, cut, draw, h.members)
        return self._mixed(batch, targets, select_columns(x, partners(x, shift, axis), ~taken), shift, share_taken, axis)

    def _mixed(self, batch: Batch, targets: Tensor, inputs: Tensor, shift: Tensor, share_taken: Tensor, axis: int) -> Batch:
        share = (1 - share_taken).to(targets.dtype)
        share = share[..., None] if targets.ndim > share.ndim else share
        return batch.with_(inputs=inputs, targets=mix(targets, partners(targets, shift, axis), share))

"""CutMix for rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.phases import Batch, Regularizer, Values, over
from wellfit.core.registry import register
from wellfit.kernels.mix import mix, partners, select_columns
from wellfit.kernels.noise import happens
from wellfit.regularizers.inputs.features import feature_mask
from wellfit.regularizers.targets.soft import soften


@register
@dataclass(frozen=True)
class CutMix(Regularizer):
    """CutMix for tables: some features of a row come from another row, and the target is shared accordingly.

    With probability ``rate`` per row: keep each feature with probability λ ~ U(0, 1), take the others from a partner row,
    y ← s·y + (1 - s)·y' with s the share actually kept. The mask is drawn per row; columns that encode one source feature
    move together.

    Shapes: inputs (B, D) or (K, B, D). Unit: probability.
    When it hurts: targets that hang on a single feature or on exact combinations of features.
    Raises WellfitError for a rate outside [0, 1]. Source: Yun et al. 2019; on rows of tables Kadra et al. 2021.

    >>> CutMix(0.5).name
    'cut_mix'
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that a row is mixed")

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
        taken, share_taken = feature_mask(batch, cut, draw, h.members)
        share = (1 - share_taken).to(targets.dtype)
        share = share[..., None] if targets.ndim > share.ndim else share
        return batch.with_(inputs=select_columns(x, partners(x, shift, axis), ~taken),
                           targets=mix(targets, partners(targets, shift, axis), share))

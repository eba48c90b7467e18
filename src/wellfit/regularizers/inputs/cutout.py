"""Cutout for rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.phases import Batch, Regularizer, Values, over
from wellfit.core.registry import register
from wellfit.kernels.mix import select_columns
from wellfit.kernels.noise import happens
from wellfit.regularizers.inputs.features import feature_mask


@register
@dataclass(frozen=True)
class Cutout(Regularizer):
    """Cutout for tables: with probability ``rate`` a row loses each feature with probability ``share`` (set to 0).

    0 is the centre of a standardized feature and "no category" of a one-hot one. The mask is drawn per row; columns that
    encode one source feature go together.

    Shapes: inputs (B, D) or (K, B, D). Units: probabilities.
    When it hurts: targets that need all features at once; few features.
    Raises WellfitError for values outside their ranges. Source: DeVries & Taylor 2017; on rows of tables Kadra et al. 2021.

    >>> Cutout(0.5, share=0.2).share
    0.2
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that a row is cut")
    share: float = hyper(0.2, high=1.0, search=(0.05, 0.7), unit="probability", meaning="probability of losing a feature")

    order: ClassVar[int] = 22

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = batch.inputs
        lottery = draw.bits16((x.shape[1 if h.members else 0],))
        applied = happens(lottery, over(h.rate, lottery))
        cut = applied.double() * over(h.share, lottery)
        taken, _ = feature_mask(batch, cut, draw, h.members)
        return batch.with_(inputs=select_columns(x, x.new_zeros(()), ~taken))

"""Values of other rows in place of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, group_count, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import gather_rows, select_columns
from wellfit.regularizers.inputs.features import feature_mask


@register
@dataclass(frozen=True)
class SwapNoise(Regularizer):
    """Swap noise: with probability ``rate`` a feature of a row takes the value it has in another row of the batch.

    Each feature is drawn on its own, the other row too (all other rows alike), so that every feature keeps its distribution
    and loses some of its tie to the rest. Columns that encode one source feature go together. Targets stay.

    Shapes: inputs (B, D) or (K, B, D). Unit: probability. A batch of one row stays as it is.
    When it helps: tables with many redundant columns, also categorical ones.
    When it hurts: targets that hang on one feature alone; small batches, whose values repeat.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no rows. Source: Jahrer 2018 (denoising
    autoencoders for tables); Yoon et al. 2020 (VIME).

    >>> SwapNoise(0.15).rate
    0.15
    """

    rate: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.5), unit="probability",
                        meaning="probability that a feature comes from another row")

    order: ClassVar[int] = 23
    takes: ClassVar[str] = "rows"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = batch.inputs
        chance = over(h.rate, x[..., 0]) * torch.ones(x.shape[:-1], dtype=torch.float64, device=x.device)
        taken, _ = feature_mask(batch, chance, draw, h.members)
        rows, columns = x.shape[-2:]
        groups = batch.feature_groups
        sources = columns if groups is None else group_count(groups)
        further = draw.integers(max(rows - 1, 1), (rows, sources)) + 1
        row = (torch.arange(rows, device=further.device)[:, None] + further) % rows
        other = gather_rows(x, row if groups is None else row[..., groups])
        return batch.with_(inputs=select_columns(x, other, ~taken))

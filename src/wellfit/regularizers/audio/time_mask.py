"""Moments of silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.regularizers.audio.masks import masks
from wellfit.regularizers.audio.shapes import as_waveforms


@register
@dataclass(frozen=True)
class TimeMask(Regularizer):
    """Time mask: ``count`` stretches of each waveform become silent, each 0 to ⌊share·T⌋ samples long, anywhere.

    Shapes: (B, T) or (B, C, T), floating point, or (K, ...) of them; all channels of an example. Unit: share of the length.
    When it helps: networks on raw waveforms, few recordings.
    When it hurts: short events that one stretch can hide.
    Raises WellfitError for a share outside [0, 1], a count outside 0 … 8, and inputs that are no waveforms. Source: Park et
    al. 2019 (on spectrograms; here on the waveform itself).

    >>> TimeMask(0.2).count
    1
    """

    share: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.4), unit="share of the length",
                         meaning="largest length of a silent stretch")
    count: int = hyper(1, high=8, neutral=0, whole=True, dynamic=False, unit="stretches", meaning="number of silent stretches")

    order: ClassVar[int] = 15
    takes: ClassVar[str] = "waveforms"
    before_features: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_waveforms(batch, h.members, "TimeMask")
        silent = masks(draw, x.shape[1 if h.members else 0], h.count, h.share, x.shape[-1])
        return batch.with_(inputs=x.masked_fill(silent.unsqueeze(-2), 0).reshape(batch.inputs.shape))

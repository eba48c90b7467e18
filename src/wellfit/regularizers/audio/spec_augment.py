"""SpecAugment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.regularizers.audio.masks import masks
from wellfit.regularizers.audio.shapes import as_spectrograms


@register
@dataclass(frozen=True)
class SpecAugment(Regularizer):
    """SpecAugment: of each spectrogram, some stretches of time and some bands of frequency are hidden.

    ``time_masks`` stretches of 0 to ⌊time_share·T⌋ frames and ``frequency_masks`` bands of 0 to ⌊frequency_share·F⌋ rows,
    all widths alike and anywhere they fit, become the spectrogram's own mean (``value`` "mean") or 0 ("zero"; the same where
    spectrograms are standardized). The paper's time warp, which it found to matter least, is left out: see SpeedChange.

    Shapes: (B, F, T) or (B, C, F, T), floating point, or (K, ...) of them; all channels of an example. Units: number, share
    of the axis.
    When it helps: few recordings or few speakers; any network on spectrograms.
    When it hurts: short recordings whose classes differ in one moment or band.
    Raises WellfitError for shares outside [0, 1], counts outside 0 … 8, an unknown value, and inputs that are no
    spectrograms. Source: Park et al. 2019.

    >>> SpecAugment(time_share=0.2).frequency_share
    0.1
    """

    time_share: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.4), unit="share of the frames",
                              meaning="largest width of a hidden stretch of time")
    frequency_share: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.4), unit="share of the bands",
                                   meaning="largest width of a hidden band of frequencies")
    time_masks: int = hyper(1, high=8, neutral=0, whole=True, dynamic=False, unit="stretches",
                            meaning="number of hidden stretches of time")
    frequency_masks: int = hyper(1, high=8, neutral=0, whole=True, dynamic=False, unit="bands",
                                 meaning="number of hidden bands of frequencies")
    value: str = option("mean", choices=("mean", "zero"), meaning="what hides a place")

    order: ClassVar[int] = 16
    takes: ClassVar[str] = "spectrograms"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_spectrograms(batch, h.members, "SpecAugment")
        rows = x.shape[1 if h.members else 0]
        times = masks(draw, rows, h.time_masks, h.time_share, x.shape[-1])
        bands = masks(draw, rows, h.frequency_masks, h.frequency_share, x.shape[-2])
        hidden = (times[..., None, :] | bands[..., :, None]).unsqueeze(-3)
        shown = x.mean((-2, -1), keepdim=True) if self.value == "mean" else x.new_zeros(())
        return batch.with_(inputs=torch.where(hidden, shown, x).reshape(batch.inputs.shape))

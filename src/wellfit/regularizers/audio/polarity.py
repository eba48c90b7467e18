"""The other sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import happens
from wellfit.regularizers.audio.shapes import as_waveforms, per_example


@register
@dataclass(frozen=True)
class Polarity(Regularizer):
    """Polarity: with probability ``rate`` a waveform changes its sign, x ← -x. It sounds the same.

    Shapes: (B, T) or (B, C, T), floating point, or (K, ...) of them. Unit: probability.
    When it helps: networks on raw waveforms, from recordings of different set-ups.
    When it hurts: waveforms whose sign means something (ECG, pressure). It changes nothing where the features are power
    spectrograms, which do not see the sign.
    Raises WellfitError for a rate outside [0, 1], and for inputs that are no waveforms. Source: Iwana & Uchida 2021
    (flipping).

    >>> Polarity(0.5).rate
    0.5
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.05, 0.5), unit="probability",
                        meaning="probability that a waveform changes its sign")

    order: ClassVar[int] = 13
    takes: ClassVar[str] = "waveforms"
    before_features: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_waveforms(batch, h.members, "Polarity")
        lottery = draw.bits16((x.shape[1 if h.members else 0],))
        flipped = per_example(happens(lottery, over(h.rate, lottery)), x, h.members)
        return batch.with_(inputs=torch.where(flipped, -x, x).reshape(batch.inputs.shape))

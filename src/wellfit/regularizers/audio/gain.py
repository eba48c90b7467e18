"""Another loudness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.audio import amplify
from wellfit.regularizers.audio.shapes import as_waveforms, per_example


@register
@dataclass(frozen=True)
class Gain(Regularizer):
    """Gain: each waveform is made louder or softer, x ← x · 10^(g / 20), g ~ U(-decibels, decibels).

    Shapes: (B, T) or (B, C, T), floating point, or (K, ...) of them. Unit: dB. Nothing is clipped.
    When it helps: recordings at different distances from the microphone.
    When it hurts: where loudness tells the classes apart. It changes nothing where the features are standardized per example.
    Raises WellfitError for negative decibels, and for inputs that are no waveforms. Source: Ko et al. 2015 (volume
    perturbation).

    >>> Gain(6.0).decibels
    6.0
    """

    decibels: float = hyper(6.0, high=120.0, neutral=0.0, search=(1.0, 20.0), unit="dB",
                            meaning="largest change of loudness, up or down")

    order: ClassVar[int] = 12
    takes: ClassVar[str] = "waveforms"
    before_features: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_waveforms(batch, h.members, "Gain")
        u = 2 * draw.uniform((x.shape[1 if h.members else 0],)) - 1
        gain = u * over(h.decibels, u)
        return batch.with_(inputs=amplify(x, per_example(gain, x, h.members)).reshape(batch.inputs.shape))

"""Noise in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.audio import add_at_ratio, colour
from wellfit.kernels.mix import partners
from wellfit.kernels.noise import happens
from wellfit.regularizers.audio.shapes import as_waveforms, per_example


@register
@dataclass(frozen=True)
class BackgroundNoise(Regularizer):
    """Background noise: with probability ``rate`` a waveform gets noise, x ← x + a·n, as loud as a drawn ratio says.

    a is such that 10·log10(mean x² / mean (a·n)²) = snr + span·u dB, u ~ U(0, 1) per example. ``noise``: "white" (all
    frequencies alike), "pink" (power ∝ 1/f), "brown" (∝ 1/f²), or "others": another example of the batch, whose target is not
    mixed in (at 10 dB and more a voice in the background, not a second answer).

    Shapes: (B, T) or (B, C, T), floating point, or (K, ...) of them. Units: probability, dB.
    When it helps: recordings made in quiet rooms for a use in noisy ones; few speakers or microphones.
    When it hurts: classes that differ in how noisy they are; soft sounds at a low ratio. Silence stays silent.
    Raises WellfitError for values outside their ranges, an unknown noise, and inputs that are no waveforms. Source: Ko et al.
    2017; Snyder et al. 2018 (babble).

    >>> BackgroundNoise(0.5, snr=10.0, span=20.0, noise="pink").noise
    'pink'
    """

    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.1, 1.0), unit="probability",
                        meaning="probability that a waveform gets noise")
    snr: float = hyper(10.0, low=-60.0, high=120.0, search=(0.0, 30.0), unit="dB", meaning="lowest ratio of signal to noise")
    span: float = hyper(20.0, high=120.0, unit="dB", meaning="how far above the lowest the ratio may lie")
    noise: str = option("white", choices=("white", "pink", "brown", "others"), meaning="where the noise comes from")

    order: ClassVar[int] = 14
    takes: ClassVar[str] = "waveforms"
    before_features: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_waveforms(batch, h.members, "BackgroundNoise")
        axis = 1 if h.members else 0
        rows = x.shape[axis]
        lottery = draw.bits16((rows,))
        applied = happens(lottery, over(h.rate, lottery))
        u = draw.uniform((rows,))
        ratio = over(h.snr, u) + over(h.span, u) * u
        if self.noise == "others":
            noise = partners(x, draw.integers(max(rows - 1, 1)) + 1, axis)
        else:
            noise = draw.normal(x.shape[axis:], x.dtype)
            if self.noise != "white":
                noise = colour(noise, 1.0 if self.noise == "pink" else 2.0)
        found = add_at_ratio(x, noise, per_example(ratio, x, h.members), per_example(applied, x, h.members))
        return batch.with_(inputs=found.reshape(batch.inputs.shape))

"""Faster or slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.audio import read_at, read_at_band_limited
from wellfit.regularizers.audio.shapes import as_waveforms, per_example


@register
@dataclass(frozen=True)
class SpeedChange(Regularizer):
    """Speed change: each waveform is played faster or slower, which changes its pitch as well: x(t) ← x(m + f·(t - m)).

    f = (1 + spread)^u, u ~ U(-1, 1), m the middle, which stays in place. The length stays T: a faster waveform has silence at
    both ends, a slower one loses both ends. ``interpolation``: "linear" is cheap and takes some of the highest frequencies;
    "sinc" is a windowed sinc over 16 samples, which also keeps a faster waveform free of aliases.

    Shapes: (B, T) or (B, C, T), floating point, or (K, ...) of them; channels move together. Unit: share of the speed.
    When it helps: few speakers: other tempi and pitches are as good as other voices.
    When it hurts: where pitch or tempo tells the classes apart.
    Raises WellfitError for a spread outside [0, 3], an unknown interpolation, and inputs that are no waveforms. Source: Ko et
    al. 2015 (speed perturbation, factors 0.9, 1 and 1.1).

    >>> SpeedChange(0.1).spread
    0.1
    """

    spread: float = hyper(0.1, high=3.0, neutral=0.0, search=(0.02, 0.3), scale="log", unit="share of the speed",
                          meaning="largest change of speed: 0.1 is up to 10% faster, or slower by the same factor")
    interpolation: str = option("linear", choices=("linear", "sinc"), meaning="how values between samples are found")

    order: ClassVar[int] = 10
    takes: ClassVar[str] = "waveforms"
    before_features: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_waveforms(batch, h.members, "SpeedChange")
        u = 2 * draw.uniform((x.shape[1 if h.members else 0],)) - 1
        step = per_example((u * torch.log1p(u.new_ones(()) * over(h.spread, u))).exp(), x, h.members)
        middle = (x.shape[-1] - 1) / 2
        places = middle + step * (torch.arange(x.shape[-1], dtype=step.dtype, device=step.device) - middle)
        read = read_at(x, places) if self.interpolation == "linear" else read_at_band_limited(x, places, step)
        return batch.with_(inputs=torch.where(step == 1, x, read).reshape(batch.inputs.shape))

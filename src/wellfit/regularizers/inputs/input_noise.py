"""Noise on the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import add_noise, spread
from wellfit.kernels.pixels import pixels_, white


@register
@dataclass(frozen=True)
class InputNoise(Regularizer):
    """Input noise: Gaussian noise on the training inputs, x ← x + std·n, n ~ N(0, 1).

    For small std this is Tikhonov regularization of the network's input gradient. ``scale`` "one" expects inputs on a common
    scale (standardized features); "batch" multiplies n by each feature's own standard deviation over the batch, so that
    features need no common scale and constant ones get no noise. uint8 images are taken as shares of 255, and the sum is
    clamped and rounded to their range.

    Shapes: (B, ...) or (K, B, ...). Unit: standard deviations of a feature, for images share of white.
    When it helps: measured inputs with noise of their own, few rows.
    When it hurts: features whose fine grain carries the signal, integer codes; "batch" with small batches.
    Raises WellfitError for a negative std and an unknown scale. Source: Bishop 1995.

    >>> InputNoise(0.1).std
    0.1
    """

    std: float = hyper(0.1, neutral=0.0, search=(0.01, 1.0), scale="log", unit="feature std",
                       meaning="standard deviation of the noise")
    scale: str = option("one", choices=("one", "batch"), meaning="what one standard deviation is")

    order: ClassVar[int] = 30

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = batch.inputs
        shape = x.shape[1:] if h.members else x.shape
        pixels = x.dtype == torch.uint8
        values = x.float() if pixels else x
        std = over(h.std, x) * (white(x.dtype) if pixels else 1)
        if self.scale == "batch":
            std = spread(values, 1 if h.members else 0) * over(h.std, x)
        noisy = add_noise(values, draw.normal(shape, values.dtype).to(x.device), std)
        return batch.with_(inputs=pixels_(noisy, x.dtype) if pixels else noisy)

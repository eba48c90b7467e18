"""Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.smooth import blur, gaussian
from wellfit.regularizers.images.frame import chosen
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class Blur(Regularizer):
    """With probability ``rate`` an image is smoothed by a Gaussian of width σ ~ U(0, sigma).

    x ← Σ_t w_t x[· + t] along both axes, w_t ∝ exp(-t²/2σ²) for whole |t| ≤ ⌈3σ⌉ (less where the image is smaller), mirrored
    at the outermost pixels.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Units: pixels; probability.
    When it helps: pictures that are sometimes out of focus, or come in several resolutions.
    When it hurts: fine texture that carries the label.
    Raises WellfitError for values outside their ranges, and for inputs that are no images of light. Source: Chen et al. 2020.

    >>> Blur(1.5, rate=0.5).sigma
    1.5
    """

    sigma: float = hyper(1.0, high=32.0, neutral=0.0, search=(0.3, 3.0), scale="log", unit="pixels",
                         meaning="largest width of the Gaussian")
    rate: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.05, 1.0), unit="probability",
                        meaning="probability that an image is changed")

    order: ClassVar[int] = 13
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        selected = chosen(draw, batch.inputs.shape[1 if h.members else 0], h)
        sigma = draw.uniform(selected.shape[-1:])
        sigma = sigma * over(h.sigma, sigma)
        flat = sigma.flatten()

        def smoothed(x: Tensor, rows: Tensor) -> Tensor:
            own = flat[rows]
            reach = min(math.ceil(3 * float(own.max())), min(x.shape[-2:]) - 1)
            return blur(x, gaussian(own, reach).to(x.device))

        return recoloured(self, batch, h, selected & (sigma > 0), smoothed)

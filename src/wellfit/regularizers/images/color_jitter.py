"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.colour import jitter
from wellfit.regularizers.images.light import recoloured


@register
@dataclass(frozen=True)
class ColorJitter(Regularizer):
    """Every image gets its own brightness, contrast, saturation and hue.

    In this order, with b, c, s ~ U(1 - v, 1 + v) for each hyperparameter v and t ~ U(-hue, hue) turns:
    x ← b·x;  x ← m + c·(x - m), m the image's mean lightness;  x ← g + s·(x - g), g the pixel's lightness;
    x ← colours turned by t about the grey axis of YIQ. All four are linear in a pixel's colour, so they are one matrix per
    image, and values are clamped once, at the end (libraries that clamp in between, or turn the hue in HSV, differ a little).
    Grey images have brightness and contrast only.

    Shapes: images (B, C, H, W) or (K, B, C, H, W) with C 1 or 3; uint8, or float in [0, 1] (not standardized).
    Units: change of a factor; turns.
    When it helps: photographs in changing light and white balance.
    When it hurts: colour that carries the label (flowers, tissue stains).
    Raises WellfitError for values outside their ranges, and for inputs that are no images of light.
    Source: Krizhevsky, Sutskever & Hinton 2012; Howard 2013.

    >>> ColorJitter(0.4, 0.4, 0.4, 0.1).hue
    0.1
    """

    brightness: float = hyper(0.3, high=1.0, neutral=0.0, search=(0.05, 0.8), unit="change of a factor",
                              meaning="largest change of the brightness")
    contrast: float = hyper(0.3, high=1.0, neutral=0.0, search=(0.05, 0.8), unit="change of a factor",
                            meaning="largest change of the contrast")
    saturation: float = hyper(0.3, high=1.0, neutral=0.0, search=(0.05, 0.8), unit="change of a factor",
                              meaning="largest change of the saturation")
    hue: float = hyper(0.05, high=0.5, neutral=0.0, search=(0.01, 0.2), unit="turns",
                       meaning="largest turn of the hue, 0.5 being the opposite colour")

    order: ClassVar[int] = 10
    takes: ClassVar[str] = "images"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        rows = batch.inputs.shape[1 if h.members else 0]
        u = draw.uniform((4, rows)) * 2 - 1
        each = [u[..., i, :] * over(v, u[..., i, :]) for i, v in enumerate((h.brightness, h.contrast, h.saturation, h.hue))]
        chosen = torch.stack(each).ne(0).any(0)
        b, c, s, t = (v.flatten() for v in each)
        return recoloured(self, batch, h, chosen, lambda x, rows: jitter(
            x, (1 + b[rows]).to(x.device), (1 + c[rows]).to(x.device), (1 + s[rows]).to(x.device), t[rows].to(x.device)))

"""Adaptive gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.clip import unit_clip_factor


@register
@dataclass(frozen=True)
class AdaptiveClipping(Regularizer):
    """Adaptive gradient clipping: for each unit, g ← g · min(1, ratio · max(‖w‖₂, floor) / ‖g‖₂).

    A unit is one output with its incoming weights; without such (biases, gains) every entry is one. The paper leaves out the last
    layer: select="hidden", or "first" and "hidden". Gradients inside the bound are left bit for bit.

    Shapes: any, members first. Unit: gradient norm over weight norm.
    When it helps: deep networks without normalisation, large learning rates, batches with a few very large gradients.
    When it hurts: weights that start at zero (``floor`` is what lets them move), small batches are what it is for.
    Raises WellfitError for a ratio or floor that is not positive. Source: Brock et al. 2021.

    >>> AdaptiveClipping(0.01).floor
    0.001
    """

    ratio: float = hyper(0.01, neutral=float("inf"), open_low=True, search=(0.001, 1.0), scale="log",
                         unit="gradient norm over weight norm", meaning="largest gradient, relative to the unit's weights")
    floor: float = hyper(1e-3, open_low=True, unit="weight norm", meaning="norm that even a zero unit is taken to have")
    select: str = selection()

    order: ClassVar[int] = 85
    per_weight: ClassVar[bool] = True

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            weight, gradient = part.info.unit_view(part.weight), part.info.unit_view(part.gradient)
            gradient.mul_(unit_clip_factor(gradient, weight, over(h.ratio, gradient), over(h.floor, gradient), part.info.unit_axes))

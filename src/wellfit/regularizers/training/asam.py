"""Adaptive sharpness-aware minimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import WEIGHT_KINDS, selection
from wellfit.kernels.ascent import adaptive_scale, ascent_factor


@register
@dataclass(frozen=True)
class ASAM(Regularizer):
    """Adaptive SAM: the gradient is taken at w + radius · T²g/‖Tg‖₂ with T = |w| + floor, so that rescaling units changes nothing.

    T is 1 for biases, norms and other gains. Everything else is as for :class:`SAM`, but for the radius, which is relative to the
    weights and about ten times larger.

    Shapes: any. Unit: distance relative to the weights.
    When it helps: as SAM, where layers have scales of their own, so that one radius does not fit all.
    When it hurts: as SAM; weights that start at zero hardly move (``floor`` is what moves them).
    Raises WellfitError for a negative radius, and for a loop without ``plan.backward``. Source: Kwon et al. 2021.

    >>> ASAM(0.5).floor
    0.01
    """

    radius: float = hyper(0.5, neutral=0.0, search=(0.05, 2.0), scale="log", unit="distance relative to the weights",
                          meaning="how far uphill the gradient is taken")
    floor: float = hyper(0.01, unit="weight", meaning="size that even a zero weight is taken to have")
    select: str = selection("all")

    order: ClassVar[int] = 50
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    conflicts: ClassVar[dict[str, str]] = {"sam": "one ascent would start where the other has moved to."}

    def ascend_(self, parts: Sequence[Part], h: Values) -> None:
        if not parts:
            return
        scales = [adaptive_scale(p.weight, h.floor) if p.info.kind in WEIGHT_KINDS else None for p in parts]
        scaled = [p.gradient if t is None else p.gradient * t for p, t in zip(parts, scales, strict=True)]
        square = sum(g.square().sum().to(scaled[0].device) for g in scaled)
        factor = ascent_factor(square, h.radius)  # type: ignore[arg-type]
        for part, gradient, scale in zip(parts, scaled, scales, strict=True):
            move = gradient if scale is None else gradient * scale
            part.weight.add_(move * factor.to(move))

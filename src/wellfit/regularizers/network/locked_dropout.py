"""Locked dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Site, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import drop


@register
@dataclass(frozen=True)
class LockedDropout(Regularizer):
    """Locked (variational) dropout: a unit of a sequence is dropped at every time step of an example, or at none.

    a[b, t, d] ← a[b, t, d] · m[b, d] / (1 - rate), m ~ Bernoulli(1 - rate), on what enters recurrent, attention and linear layers
    but the first layer. Where there are no time steps it is plain dropout. Whether sequences are (B, T, D) or (T, B, D) follows
    from the network's recurrent and attention layers (batch_first).

    Shapes: (B, T, D), (T, B, D), packed sequences, (B, D). Unit: probability, met to 1/65536.
    When it helps: recurrent networks that overfit.
    When it hurts: short sequences with few units. Raises WellfitError for a rate outside [0, 1), or where there is nothing to drop.
    Source: Gal & Ghahramani 2016; Merity et al. 2018.

    >>> LockedDropout(0.4).rate
    0.4
    """

    rate: float = hyper(0.3, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.75), unit="probability",
                        meaning="probability of dropping a unit throughout a sequence")

    order: ClassVar[int] = 45
    stacked: ClassVar[bool] = False
    sites: ClassVar[tuple[str, ...]] = ("recurrent", "attention", "linear")

    def on_site(self, activation: Tensor, site: Site, h: Values, draw: Draw) -> Tensor:
        return drop(activation, draw.bits16(site.draw_shape(activation, site.positions)), h.rate)

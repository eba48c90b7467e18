"""Alpha dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import placement
from wellfit.kernels.drop import alpha_drop


@register
@dataclass(frozen=True)
class AlphaDropout(Regularizer):
    """Alpha dropout: a dropped activation takes SELU's saturation value, and mean 0 and variance 1 are kept.

    y = a·(x·m + α'·(1 - m)) + b, m ~ Bernoulli(1 - rate), α' = -1.7581; a and b restore mean and variance. On what enters every
    layer but the first, or in place of the network's dropout modules.

    Shapes: (B, D), (B, C, H, W), ... or (K, B, D). Unit: probability, met to 1/65536.
    When it helps: deep networks of SELUs that overfit: they normalise themselves, and plain dropout would undo that.
    When it hurts: activations other than SELU, whose mean is not 0. Raises WellfitError for a rate outside [0, 1).
    Source: Klambauer et al. 2017.

    >>> AlphaDropout(0.05).rate
    0.05
    """

    rate: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.01, 0.3), unit="probability",
                        meaning="probability that a hidden activation saturates")
    where: str = placement()

    order: ClassVar[int] = 41
    zeroes: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        shape = activation.shape[1:] if h.members else activation.shape
        return alpha_drop(activation, draw.bits16(shape), over(h.rate, activation))

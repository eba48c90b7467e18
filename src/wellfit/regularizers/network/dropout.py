"""Dropout."""

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
from wellfit.kernels.noise import drop


@register
@dataclass(frozen=True)
class Dropout(Regularizer):
    """Dropout: each hidden activation is 0 with probability ``rate`` in training, else divided by 1 - rate.

    a ← a · m / (1 - rate), m ~ Bernoulli(1 - rate), on what enters every layer but the first; what enters several layers at
    once (queries, keys and values) is dropped once. Inserted into a built model by hooks: parameters and state_dict keep their
    names, evaluation is untouched, and the rate may be a schedule.

    A network that has dropout modules keeps their places: there this part drops in their stead, at its own rate (``where``
    "auto"), also between the levels of an LSTM that drops there. ``where="insert"`` leaves them and adds more, with a warning.
    Dropout inside attention is AttentionDropout's.

    Constant ``Dropout(0.3)``; early, against underfitting, ``Dropout(wf.Linear(0.3, 0.0))``; late,
    ``Dropout(wf.WarmUp(0.3, fraction=0.5))`` (Liu et al. 2023).

    Shapes: (B, D), (B, C, H, W), ... or (K, B, D). Unit: probability, met to 1/65536.
    When it helps: wide layers that overfit: a training error far below the validation error.
    When it hurts: underfitting networks, before a batch norm (its variance shifts at evaluation), very narrow layers.
    Raises WellfitError for a rate outside [0, 1), or where there is nothing to drop. Source: Srivastava et al. 2014.

    >>> Dropout(0.3).rate
    0.3
    """

    rate: float = hyper(0.2, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.75), unit="probability",
                        meaning="probability of dropping a hidden activation")
    where: str = placement()

    order: ClassVar[int] = 40

    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        shape = activation.shape[1:] if h.members else activation.shape
        return drop(activation, draw.bits16(shape), over(h.rate, activation))

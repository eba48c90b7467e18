"""Attention dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wellfit.core.hyper import hyper
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class AttentionDropout(Regularizer):
    """Attention dropout: in training each attention weight is 0 with probability ``rate``, else divided by 1 - rate.

    A ← softmax(Q·Kᵀ/√d) · m / (1 - rate), m ~ Bernoulli(1 - rate). The rate is handed to the attention modules the network has, in
    place of their own: nn.MultiheadAttention (and so torch's transformer layers), and modules with "attention" or "attn" in their
    class name that hold a rate as ``dropout``, ``attention_dropout``, ``dropout_p``, ``attn_drop`` and the like, as a number or
    a dropout module. They draw by themselves, from torch's generator, which is set for each call and put back.

    Shapes: any. Unit: probability. Not for a call of scaled_dot_product_attention with a rate written into the code.
    When it helps: transformers on little data, whose attention settles on a few positions.
    When it hurts: short sequences, pretrained networks that are tuned briefly. Raises WellfitError for a rate outside [0, 1), or
    without such a module. Source: Vaswani et al. 2017; Zehui et al. 2019.

    >>> AttentionDropout(0.1).rate
    0.1
    """

    rate: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.01, 0.5), unit="probability",
                        meaning="probability of dropping an attention weight")

    order: ClassVar[int] = 47
    stacked: ClassVar[bool] = False
    drives: ClassVar[Literal["attention_dropout"]] = "attention_dropout"

"""Embedding dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, WeightInfo
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.noise import drop


@register
@dataclass(frozen=True)
class EmbeddingDropout(Regularizer):
    """Embedding dropout: whole words are dropped, wherever they stand in the batch, with probability ``rate``.

    E[v] ← E[v] · m[v] / (1 - rate), m ~ Bernoulli(1 - rate) per row of an embedding, one m for a forward pass. An output layer
    that is tied to the embedding computes with the same rows.

    Shapes: (V, D). Unit: probability, met to 1/65536.
    When it helps: large vocabularies with many rare words, few texts.
    When it hurts: small vocabularies, tied output layers. Raises WellfitError for a rate outside [0, 1), or without an embedding.
    Source: Gal & Ghahramani 2016; Merity et al. 2018.

    >>> EmbeddingDropout(0.1).rate
    0.1
    """

    rate: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.01, 0.4), unit="probability",
                        meaning="probability of dropping a word")
    select: str = selection()

    order: ClassVar[int] = 51
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("embedding",)
    always: ClassVar[bool] = False

    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return drop(weight, draw.bits16((len(weight), *(1,) * (weight.ndim - 1))), h.rate)

"""Unknown tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import select_columns
from wellfit.kernels.noise import happens


@register
@dataclass(frozen=True)
class TokenDropout(Regularizer):
    """Token dropout: with probability ``rate`` a token is replaced by ``token``, the number of the unknown or mask word.

    Tokens equal to ``padding`` stay (-1: there is no padding).

    Shapes: whole numbers (B, T) or (K, B, T). Unit: probability.
    When it helps: few texts, words that never occur in training.
    When it hurts: short texts whose label hangs on one word; a ``token`` that also means something else.
    Raises WellfitError for a rate outside [0, 1], a token that is no whole number from 0 on, and inputs that are no whole
    numbers. Source: Iyyer et al. 2015 (word dropout); Bowman et al. 2016.

    >>> TokenDropout(0.1, token=3).token
    3
    """

    rate: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.5), unit="probability",
                        meaning="probability that a token is replaced")
    token: int = hyper(0, whole=True, dynamic=False, unit="token number", meaning="what replaces it")
    padding: int = hyper(-1, low=-1, whole=True, dynamic=False, unit="token number", meaning="tokens that stay; -1 for none")

    order: ClassVar[int] = 24
    takes: ClassVar[str] = "tokens"

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = batch.inputs
        if x.dtype.is_floating_point or x.dtype == torch.bool or x.ndim != (3 if h.members else 2):
            raise WellfitError("TokenDropout takes token numbers.", received=f"{x.dtype} of shape {tuple(x.shape)}",
                               expected="whole numbers of shape (B, T)")
        lottery = draw.bits16(x.shape[1:] if h.members else x.shape)
        replaced = happens(lottery, over(h.rate, lottery)) & (x != over(h.padding, x))
        token = torch.as_tensor(over(h.token, x), device=x.device).to(x.dtype)
        return batch.with_(inputs=select_columns(x, token, ~replaced))

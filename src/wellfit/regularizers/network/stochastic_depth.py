"""Stochastic depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import drop


@register
@dataclass(frozen=True)
class StochasticDepth(Regularizer):
    """Stochastic depth: whole residual branches are dropped per example, the deeper the likelier.

    a_l ← a_{l-1} + f_l(a_{l-1}) · m / (1 - p_l), m ~ Bernoulli(1 - p_l) per row, p_l = rate · l / L.

    In a network of one's own the branches are found: by its property ``branches``; else modules that drop branches already
    (``drop_prob``), whose rate is then this one; else torch's transformer layers and additions x + f(x) that torch.fx can trace.

    Shapes: (B, ...) or (K, B, D), (T, B, D) in networks that say so. Unit: probability at the last block.
    When it helps: deep residual networks that overfit.
    When it hurts: shallow networks. The built-in network needs SkipConnections beside it. Raises WellfitError for a rate outside
    [0, 1), or without a branch. Source: Huang et al. 2016.

    >>> StochasticDepth(0.2).rate
    0.2
    """

    rate: float = hyper(0.2, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.7), unit="probability",
                        meaning="probability of dropping the last residual branch")

    order: ClassVar[int] = 30
    required_by: ClassVar[Literal["recipe", "built_in"]] = "built_in"
    requires: ClassVar[Mapping[str, str]] = {"skip_connections": "only a residual branch can be dropped whole"}

    def on_branch(self, branch: Tensor, depth: float, h: Values, draw: Draw) -> Tensor:
        rows = branch.shape[1:2] if h.members else branch.shape[:1]
        bits = draw.bits16(rows)
        bits = bits.reshape(*bits.shape, *(1,) * (branch.ndim - bits.ndim))
        return drop(branch, bits, over(h.rate, branch) * depth)

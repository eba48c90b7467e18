"""A bound on the mean square of a weight, kept by a multiplier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wellfit.kernels.numbers import as_like


def decay_to_bound_(weight: Tensor, multiplier: Tensor, measure: Tensor, bound: Any, speed: Any) -> Tensor:
    """λ ← max(0, λ + μ·(R - κ)), then w ← (1 - min(2λ, 1))·w, both in place. An infinite bound leaves the weight alone.

    >>> w, m = torch.tensor([2.0, 0.0]), torch.tensor(0.0)
    >>> decay_to_bound_(w, m, w.square().mean(), 1.9, 1.0), m
    (tensor([1.6000, 0.0000]), tensor(0.1000))
    """
    bound = as_like(bound, measure)
    excess = torch.where(bound.isinf(), torch.zeros_like(measure), measure - bound)
    multiplier.add_(speed * excess).clamp_min_(0)
    return weight.mul_(1 - (2 * multiplier).clamp_max(1))


def inflected(measure: Tensor, seen: Tensor, growth: Tensor, due: Tensor) -> Tensor:
    """Whether a quantity that is looked at when ``due`` grew less than between the two looks before; ``seen`` and ``growth`` (-inf
    before there was any) are brought up to date in place."""
    now = measure - seen
    slower = due & (now < growth)
    growth.copy_(torch.where(due, now, growth))
    seen.copy_(torch.where(due, measure, seen))
    return slower

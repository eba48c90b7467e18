"""Averages of weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def blend_(average: Tensor, current: Tensor, weight: Any) -> Tensor:
    """a ← a + weight · (w - a), in place; weight 1 copies ``current`` bit for bit, weight 0 changes nothing.

    >>> import torch
    >>> blend_(torch.tensor([0.0]), torch.tensor([4.0]), 0.25)
    tensor([1.])
    """
    return average.lerp_(current, weight)

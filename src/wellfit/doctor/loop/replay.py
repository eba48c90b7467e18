"""An optimizer's own update, repeated on copies of its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def _plain_class(optimizer: Optimizer) -> type[Optimizer]:
    """The optimizer of torch that a class of one's own is made from: what the class adds counts as done after the update."""
    return next((c for c in type(optimizer).__mro__ if c.__module__.startswith("torch.optim.") and c is not Optimizer),
                type(optimizer))


def replayed(optimizer: Optimizer, trained: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The weights after one update with the gradients that are there, without any hook; None if it cannot be repeated."""
    memo: dict[int, Any] = {}
    try:
        shadow = copy.deepcopy(optimizer, memo)
        for name, value in vars(optimizer).items():
            if name not in vars(shadow) and not name.startswith("_") and name != "step":
                setattr(shadow, name, copy.deepcopy(value, memo))
        for p in trained.values():
            if id(p) in memo:
                memo[id(p)].grad = None if p.grad is None else p.grad.detach().clone()
        with torch.random.fork_rng(devices=[]):
            _plain_class(shadow).step(shadow)  # type: ignore[call-arg]
    except Exception:
        return None
    return {n: memo[id(p)].detach() if id(p) in memo else p.detach().clone() for n, p in trained.items()}

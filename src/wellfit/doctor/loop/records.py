"""What is noted of a training: passes, steps of the optimizer, recalibrations of batch norms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Grads = dict[str, Tensor]


@dataclass
class Forward:
    """One pass of the model, as its outermost module was called.

    Attributes:
        own: whether the module holds weights of the model (not of an average or another network).
        phase: the loader that was being read: "train", "val", "test" or "".
        call: which call of the watched function.
        root_training: mode of the module; live: ids of its dropout and norm layers in train mode.
        outputs: those that can carry a gradient, detached; arrived: the gradient that came back to each.
    """

    module: nn.Module
    own: bool
    phase: str
    call: int
    with_grad: bool
    root_training: bool
    live: frozenset[int]
    steps: int
    batch: Any = None
    outputs: list[Tensor] = field(default_factory=list)
    arrived: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Recalibration:
    """A pass without gradient in which batch norms take statistics: the mode of every module in it.

    Attributes:
        cumulative: whether the norms average over all batches, as ``update_bn`` lets them.
    """

    module: nn.Module
    modes: dict[int, bool]
    batch: Any
    phase: str
    cumulative: bool


@dataclass
class Step:
    """One step of the optimizer, by name of the weight.

    Attributes:
        contributions: of each pass since the gradients were cleared: Jᵀv.
        stale: gradients that were there before the first of those passes.
        seen_at: weights at which the passes were made; before, updated, after: weights before the step, after the optimizer's own
            update (None if that cannot be repeated), and when the training went on.
        clean: False if something was seen that this picture does not hold for (second-order gradients).
    """

    optimizer: Optimizer
    call: int
    gradients: Grads
    contributions: list[tuple[Forward, Grads]]
    stale: Grads | None
    seen_at: dict[str, Tensor]
    before: dict[str, Tensor]
    updated: dict[str, Tensor] | None
    rates: dict[str, float]
    groups: dict[str, dict[str, Any]]
    clean: bool
    with_closure: bool
    after: dict[str, Tensor] | None = None
    calls: int = 1


class Tap(torch.autograd.Function):
    """The identity; on the way back it tells what arrives."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, told: Callable[[Tensor], bool]) -> Tensor:  # type: ignore[override]
        ctx.told = told
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, None]:  # type: ignore[override]
        return (v if ctx.told(v) else None), None

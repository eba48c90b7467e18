"""The optimizer's own metric: the step size it gives each weight. A prox in any other metric solves another problem."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.scratch import Scratch


def _sgd(group: dict[str, Any], state: dict[str, Any]) -> float:
    # With a persistent gradient g the buffer settles at (1 - dampening)·g / (1 - momentum), so that is how far a unit of
    # gradient moves the weight; Nesterov's look-ahead has the same limit. Thresholding by lr alone would be too weak.
    momentum = group["momentum"]
    return float(group["lr"]) * ((1 - group["dampening"]) / (1 - momentum) if momentum else 1.0)


def _adam(group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    return _adam_into(group, state, None)


def _adam_into(group: dict[str, Any], state: dict[str, Any], out: Scratch | None) -> Tensor:
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return adam_step_size(second, float(group["lr"]), adam_scale(float(group["betas"][1]), float(state["step"])), group["eps"],
                          out=None if out is None else out(second))


def adam_scale(beta2: float, step: float) -> float:
    """√(1 - β₂ᵗ): what the root of Adam's second moment is divided by after t steps.

    >>> round(adam_scale(0.999, 1), 6)
    0.031623
    """
    return math.sqrt(1 - beta2**step)


def adam_step_size(second: Tensor, learning_rate: Any, scale: Any, epsilon: float, *, out: Tensor | None = None) -> Tensor:
    """lr / (√v / scale + ε), elementwise: Adam's metric, with :func:`adam_scale` for the scale, in ``out`` where there is one."""
    root = torch.sqrt(second, out=out).add_(epsilon * scale)
    return torch.reciprocal(root, out=root).mul_(learning_rate * scale)


_METRICS: dict[type[torch.optim.Optimizer], Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    torch.optim.SGD: _sgd, torch.optim.Adam: _adam, torch.optim.AdamW: _adam,
}


def step_size_of(optimizer: torch.optim.Optimizer, scratch: Scratch) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """As :func:`metric_of`, with what it computes in the first scratch buffer where the optimizer is one of torch's."""
    found = metric_of(optimizer)
    return functools.partial(_adam_into, out=scratch) if found is _adam else found


def metric_of(optimizer: torch.optim.Optimizer) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """The function (param_group, state) -> step size of an optimizer whose metric is known; refuses every other."""
    found = _METRICS.get(type(optimizer))
    if found is None:
        raise WellfitError("The metric of this optimizer is not known, so proximal steps (L1, ElasticNet, GroupLasso) would solve "
                           "another problem.", received=type(optimizer).__name__,
                           expected="one of " + ", ".join(c.__name__ for c in _METRICS),
                           action="use one of these, or teach wellfit the metric with wellfit.core.metric.register_metric")
    return found


def register_metric(kind: type[torch.optim.Optimizer], metric: Callable[[dict[str, Any], dict[str, Any]], Any], *,
                    per_weight: bool = True) -> None:
    """Declare the metric of an optimizer class: ``metric(param_group, state)`` returns the step size of each weight, or one
    number for all weights of a parameter where ``per_weight`` is False."""
    _METRICS[kind] = metric
    (_ONE_SIZE.discard if per_weight else _ONE_SIZE.add)(kind)


_ONE_SIZE: set[type[torch.optim.Optimizer]] = {torch.optim.SGD}


def one_step_size(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has one step size for all weights of a parameter."""
    return type(optimizer) in _ONE_SIZE

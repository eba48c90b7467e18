"""A small lasso-like problem with a known sparse truth, trained through a plan with ordinary optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import wellfit as wf

ROWS, FEATURES, ZEROS = 200, 60, 45


def data(outputs: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(X, Y): 60 features of which 45 do nothing."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS, FEATURES))
    truth = np.zeros((FEATURES, outputs))
    truth[rng.permutation(FEATURES)[ZEROS:]] = rng.choice([-1, 1], (FEATURES - ZEROS, outputs)) * rng.uniform(0.5, 2, (
        FEATURES - ZEROS, outputs))
    return x, x @ truth + 0.5 * rng.standard_normal((ROWS, outputs))


def half_squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """‖Y - XW‖² / (2n): scikit-learn's data term."""
    return (outputs - targets).square().sum() / (2 * len(targets))


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "dampened": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.8, dampening=0.5),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.03),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.03, weight_decay=0),
    "fused adamw": lambda p: torch.optim.AdamW(p, lr=0.03, weight_decay=0, fused=True),
}


def solve(recipe: wf.Recipe, optimizer: Callable[[Any], torch.optim.Optimizer], x: np.ndarray, y: np.ndarray,
          steps: int = 600, **settings: Any) -> np.ndarray:
    """(features, outputs): the weights after full-batch training with a decaying learning rate."""
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    model = nn.Linear(x.shape[1], y.shape[1], bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.random.default_rng(1).standard_normal(model.weight.shape) * 0.1))
    plan = recipe.compile(model, **settings)
    made = optimizer(model.parameters())
    plan.attach(made)
    base = made.param_groups[0]["lr"]
    for step in range(steps):
        made.param_groups[0]["lr"] = base * min(1.0, 2 * (1 - step / steps))
        made.zero_grad()
        half_squares(model(inputs), targets).backward()
        made.step()
    return plan.finish().weight.detach().numpy().T

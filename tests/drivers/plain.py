"""Small problems and loops for the tests of plans: plain PyTorch, nothing of wellfit but the plan's own calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import wellfit as wf

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(96, 5, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, 3, (96,), generator=GENERATOR)
BATCH, STEPS = 16, 6  # six steps are an epoch

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0),
    "fused adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0, fused=True),
}

#: One of each kind of action on weights and gradients.
ACTIVE = wf.Recipe(wf.L1(0.003), wf.L2(0.01), wf.WeightDecay(rate=0.1), wf.GroupLasso(0.002), wf.MaxNorm(0.8),
                   wf.GradientClipping(0.5))


def network(seed: int = 1, dtype: torch.dtype = torch.float64) -> wf.MLP:
    return wf.MLP(5, (8, 8), 3, seed=seed, dtype=dtype)


def batches(epoch: int = 0) -> list[tuple[Tensor, Tensor]]:
    return [(INPUTS[i:i + BATCH], LABELS[i:i + BATCH]) for i in range(0, len(INPUTS), BATCH)]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor], relative: float = 0.0) -> bool:
    assert set(a) == set(b)
    return all(torch.equal(t, b[n]) if relative == 0 else torch.allclose(t, b[n], rtol=relative, atol=relative)
               for n, t in a.items())


def step(plan: wf.Plan, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    x, y = plan.batch(x, y)
    optimizer.zero_grad()
    plan.loss(functional.cross_entropy(plan.model(x), y)).backward()
    optimizer.step()


def trained(recipe: wf.Recipe, optimizer: str = "adamw", epochs: int = 2, model: nn.Module | None = None,
            **settings: Any) -> tuple[wf.Plan, torch.optim.Optimizer]:
    """A plan after some epochs, not finished yet."""
    model = model or network()
    plan = recipe.compile(model, **{"epochs": epochs, "steps_per_epoch": STEPS, **settings})
    made = OPTIMIZERS[optimizer](model.parameters())
    plan.attach(made)
    for _ in range(epochs):
        model.train()
        for x, y in batches():
            step(plan, made, x, y)
    return plan, made

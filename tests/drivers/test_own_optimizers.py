"""Optimizers of one's own whose step calls that of their parent: one step is one step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import wellfit as wf


class Own(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        return super().step(closure)


@pytest.fixture
def attached() -> tuple[wf.Plan, nn.Linear, Own]:
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)  # a plain one, made before: PyTorch now hooks the parent's step too
    model = nn.Linear(3, 1)
    plan = wf.Recipe(wf.WeightDecay(rate=0.5)).compile(model)
    optimizer = Own(model.parameters(), lr=0.1)
    plan.attach(optimizer)
    return plan, model, optimizer


def test_decay_acts_once(attached: tuple[wf.Plan, nn.Linear, Own]) -> None:
    plan, model, optimizer = attached
    before = model.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert plan.steps == 1
    assert torch.allclose(model.weight, before * 0.95)


def test_a_closure_is_followed_by_the_gradient_phase_once(attached: tuple[wf.Plan, nn.Linear, Own]) -> None:
    plan, model, optimizer = attached
    calls = []

    def closure() -> torch.Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3)).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert plan.steps == 1 and len(calls) == 1


def test_a_step_that_fails_leaves_the_next_one_whole(attached: tuple[wf.Plan, nn.Linear, Own]) -> None:
    plan, model, optimizer = attached

    def broken() -> torch.Tensor:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        optimizer.step(broken)
    assert plan.steps == 0
    before = model.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert plan.steps == 1 and torch.allclose(model.weight, before * 0.95)

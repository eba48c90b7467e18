"""The optimizer's own metric: how far a persisting unit of gradient moves each weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import wellfit as wf
from wellfit.core import metric
from wellfit.core.metric import metric_of, register_metric


@pytest.mark.parametrize("settings", [
    {"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True}], ids=str)
def test_sgd_moves_a_weight_by_its_step_size_under_a_constant_gradient(settings: dict[str, Any]) -> None:
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], **settings)
    gradient = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for _ in range(400):
        before = weight.detach().clone()
        weight.grad = gradient.clone()
        optimizer.step()
    size = metric_of(optimizer)(optimizer.param_groups[0], optimizer.state[weight])
    assert torch.allclose(before - weight.detach(), size * gradient, rtol=1e-10)


@pytest.mark.parametrize("make", [
    torch.optim.Adam, torch.optim.AdamW, lambda p, **k: torch.optim.Adam(p, amsgrad=True, **k),
    lambda p, **k: torch.optim.AdamW(p, fused=True, weight_decay=0, **k),
    lambda p, **k: torch.optim.AdamW(p, foreach=True, weight_decay=0, **k)],
    ids=["adam", "adamw", "amsgrad", "fused", "foreach"])
def test_adam_divides_by_the_root_of_the_second_moment(make: Callable[..., torch.optim.Optimizer]) -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer = make([weight], lr=0.01, eps=1e-6, betas=(0.0, 0.99))  # without a first moment: Δw = size · g
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        before = weight.detach().clone()
        weight.grad = torch.randn(4, generator=generator, dtype=torch.float64) * 10.0**-step
        gradient = weight.grad.clone()
        optimizer.param_groups[0]["weight_decay"] = 0.0
        optimizer.step()
        size = metric_of(optimizer)(optimizer.param_groups[0], optimizer.state[weight])
        assert torch.allclose(before - weight.detach(), size * gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.NAdam, torch.optim.Adagrad, torch.optim.Rprop,
                                  torch.optim.RAdam, torch.optim.Adamax], ids=lambda k: k.__name__)
@pytest.mark.parametrize("part", [wf.L1(0.1), wf.ElasticNet(0.1), wf.GroupLasso(0.1)], ids=lambda p: p.name)
def test_an_unknown_metric_is_refused_for_proximal_parts(kind: type[torch.optim.Optimizer], part: Any) -> None:
    model = torch.nn.Linear(2, 2)
    with pytest.raises(wf.WellfitError, match=r"metric of this optimizer is not known.*") as caught:
        wf.Recipe(part).compile(model).attach(kind(model.parameters(), lr=0.1))
    assert kind.__name__ in str(caught.value)
    assert "SGD, Adam, AdamW" in str(caught.value)


@pytest.mark.parametrize("part", [wf.L2(0.1), wf.MaxNorm(1.0), wf.WeightDecay(rate=0.1), wf.GradientClipping(1.0)],
                         ids=lambda p: p.name)
def test_parts_without_a_prox_work_with_any_optimizer(part: Any) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.1)
    plan = wf.Recipe(part).compile(model).attach(optimizer)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert plan.steps == 1


def test_a_subclass_is_not_assumed_to_keep_the_metric() -> None:
    class Mine(torch.optim.SGD):
        pass

    with pytest.raises(wf.WellfitError, match="register_metric"):
        metric_of(Mine([torch.nn.Parameter(torch.zeros(1))], lr=0.1))


def test_a_metric_can_be_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "_METRICS", dict(metric._METRICS))

    class Mine(torch.optim.SGD):
        pass

    register_metric(Mine, lambda group, state: group["lr"])
    model = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -1.0], [0.04, 0.2]]))
    optimizer = Mine(model.parameters(), lr=0.1)
    wf.Recipe(wf.L1(0.5)).compile(model).attach(optimizer)
    model.weight.grad = torch.zeros(2, 2)
    optimizer.step()
    assert torch.allclose(model.weight, torch.tensor([[0.95, -0.95], [0.0, 0.15]]))

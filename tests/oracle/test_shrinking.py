"""Ridge, decay and max-norm against closed forms, torch's own AdamW and projection by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import wellfit as wf
from oracle.convex import FEATURES, ROWS, data, solve


@pytest.mark.parametrize("settings", [{"lr": 0.3}, {"lr": 0.05, "momentum": 0.9},
                                      {"lr": 0.05, "momentum": 0.9, "nesterov": True}], ids=str)
def test_l2_is_ridge(settings: dict[str, Any]) -> None:
    """strength · Σw², so that the normal equations gain 2·strength on the diagonal."""
    x, y = data()
    strength = 0.2
    expected = np.linalg.solve(x.T @ x / ROWS + 2 * strength * np.eye(FEATURES), x.T @ y / ROWS)
    found = solve(wf.Recipe(wf.L2(strength)), lambda p: torch.optim.SGD(p, **settings), x, y, steps=800)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam], ids=lambda k: k.__name__)
def test_l2_is_half_of_torchs_coupled_weight_decay(kind: Callable[..., torch.optim.Optimizer]) -> None:
    def train(strength: float, decay: float) -> nn.Module:
        model = wf.MLP(4, (5,), 2, seed=1, dtype=torch.float64)
        optimizer = kind(model.parameters(), lr=0.05, weight_decay=decay)
        if strength:
            wf.Recipe(wf.L2(strength, select="all")).compile(model).attach(optimizer)
        run(model, optimizer, steps=20)
        return model

    for a, b in zip(train(0.03, 0.0).parameters(), train(0.0, 0.06).parameters()):
        assert torch.allclose(a, b, rtol=1e-13, atol=1e-15)


def run(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 30,
        rate: Callable[[int], float] | None = None) -> None:
    generator = torch.Generator().manual_seed(0)
    base = [g["lr"] for g in optimizer.param_groups]
    for step in range(steps):
        x = torch.randn(8, 4, generator=generator, dtype=torch.float64)
        y = torch.randint(0, 2, (8,), generator=generator)
        if rate is not None:
            for group, lr in zip(optimizer.param_groups, base):
                group["lr"] = lr * rate(step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize(("flags", "exact"), [({"foreach": False}, True), ({"foreach": True}, True), ({"fused": True}, False)],
                         ids=["for-loop", "foreach", "fused"])
def test_weight_decay_is_torchs_adamw(flags: dict[str, bool], exact: bool) -> None:
    """To the bit (the fused kernel rounds once less), with a learning rate that changes at every step."""
    def trained(own: bool) -> nn.Module:
        model = wf.MLP(4, (5, 5), 2, seed=1, dtype=torch.float64)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.0 if own else 0.3, **flags)
        if own:
            wf.Recipe(wf.WeightDecay(rate=0.3, select="all")).compile(model).attach(optimizer)
        run(model, optimizer, rate=lambda step: wf.Cosine(1.0, 0.1).at(step / 30))
        return model

    for a, b in zip(trained(True).parameters(), trained(False).parameters()):
        assert torch.equal(a, b) if exact else torch.allclose(a, b, rtol=1e-13, atol=1e-15)


def test_weight_decay_on_weights_only_is_adamw_with_two_groups() -> None:
    mine, theirs = (wf.MLP(4, (5, 5), 2, seed=1, dtype=torch.float64) for _ in range(2))
    optimizer = torch.optim.AdamW(mine.parameters(), lr=0.02, weight_decay=0, foreach=False)
    wf.Recipe(wf.WeightDecay(rate=0.3)).compile(mine).attach(optimizer)
    run(mine, optimizer)
    groups = [{"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.3},
              {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    run(theirs, torch.optim.AdamW(groups, lr=0.02, foreach=False))
    for a, b in zip(mine.parameters(), theirs.parameters()):
        assert torch.equal(a, b)


def shrunk(recipe: wf.Recipe, rates: list[float], base: float, attach_late: bool = False, **settings: Any) -> float:
    """What is left of a weight of one after steps without gradient."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=base)
    recipe.compile(model, **settings).attach(optimizer)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
    return float(model.weight.detach())


def test_a_rate_scales_with_the_learning_rate_unless_asked_not_to() -> None:
    assert shrunk(wf.Recipe(wf.WeightDecay(rate=0.5)), [0.1, 0.2], 0.1) == pytest.approx(0.95 * 0.9, rel=1e-14)
    assert shrunk(wf.Recipe(wf.WeightDecay(rate=0.5, lr_scaled=False)), [0.1, 0.2], 0.1) == pytest.approx(0.25, rel=1e-14)


@pytest.mark.parametrize("rate", [1e-4, 0.1, 3.0])
def test_a_timescale_means_the_same_whatever_the_learning_rate(rate: float) -> None:
    left = shrunk(wf.Recipe(wf.WeightDecay(timescale=2.0)), [rate] * 40, rate, steps_per_epoch=20)
    assert left == pytest.approx((1 - 1 / 40) ** 40, rel=1e-12)  # two epochs of twenty steps: about 1/e
    halved = shrunk(wf.Recipe(wf.WeightDecay(timescale=2.0)), [rate / 2] * 40, rate, steps_per_epoch=20)
    assert halved == pytest.approx((1 - 1 / 80) ** 40, rel=1e-12)  # a schedule at half its peak decays half as fast


def test_a_timescale_is_relative_to_the_peak_of_a_one_cycle_schedule() -> None:
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, cycle_momentum=False)
    wf.Recipe(wf.WeightDecay(timescale=1.0)).compile(model, steps_per_epoch=10).attach(optimizer)
    expected = 1.0
    for _ in range(10):
        expected *= 1 - optimizer.param_groups[0]["lr"] / 10  # lr / peak / (timescale · steps per epoch)
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
        scheduler.step()
    assert float(model.weight.detach()) == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------------------------------------------- max-norm


def units(module: nn.Module, name: str, weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """Views of each unit's incoming weights, written out by hand for each kind of layer."""
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
        per_group = module.in_channels // module.groups
        for group in range(module.groups):
            for out in range(module.out_channels // module.groups):
                yield weight[group * per_group:(group + 1) * per_group, out]
    else:  # linear: a row; convolution: a filter; recurrent: a gate of a cell; embedding: a vector
        yield from weight


LAYERS = {
    "linear": nn.Linear(5, 4), "conv1d": nn.Conv1d(4, 6, 3), "conv2d": nn.Conv2d(3, 4, (2, 3)),
    "grouped": nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4), "transposed1d": nn.ConvTranspose1d(4, 6, 3),
    "transposed2d": nn.ConvTranspose2d(3, 4, (2, 3)), "transposed grouped": nn.ConvTranspose2d(4, 6, 3, groups=2),
    "lstm": nn.LSTM(3, 4, num_layers=2, bidirectional=True), "gru": nn.GRU(3, 4), "embedding": nn.Embedding(6, 3),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("radius", [0.5, 1.5])
def test_max_norm_is_the_projection_by_hand(kind: str, radius: float) -> None:
    module = LAYERS[kind].to(torch.float64)
    generator = torch.Generator().manual_seed(0)
    expected = {}
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
        parameter.grad = torch.zeros_like(parameter)
        expected[name] = parameter.detach().clone()
        if parameter.ndim > 1:
            for unit in units(module, name, expected[name]):
                norm = float(unit.square().sum().sqrt())
                if norm > radius:
                    unit.mul_(radius / norm)
    changed = {n for n, p in module.named_parameters() if not torch.equal(p, expected[n])}
    assert changed or radius > 1
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    wf.Recipe(wf.MaxNorm(radius)).compile(module).attach(optimizer)
    optimizer.step()
    for name, parameter in module.named_parameters():
        assert torch.allclose(parameter, expected[name], rtol=1e-14, atol=0), name
        if parameter.ndim < 2:
            assert torch.equal(parameter, expected[name]), "biases are left alone"


def test_max_norm_leaves_weights_before_a_batch_norm() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wf.Recipe(wf.MaxNorm(0.5)).compile(model).attach(optimizer)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert (model[0].weight == 1).all()
    assert torch.allclose(model[3].weight.norm(dim=1), torch.tensor([0.5, 0.5]))

"""Sharpness-aware minimisation against hand-written algebra; what all passes share."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import wellfit as wf
from drivers.differentiated import (
    CE,
    Weights,
    X,
    Y,
    close,
    found,
    gradients,
    named,
    parameters,
)
from drivers.plain import equal, network, weights
from wellfit.core.regularizer import Regularizer


def perturbed(model: nn.Module, move: Callable[[str, Tensor, Tensor], Tensor], length: Callable[[str, Tensor, Tensor], Tensor],
              radius: float) -> Weights:
    """∇ℓ at w + radius · move(g) / ‖length(g)‖."""
    w = parameters(model)
    g = dict(zip(w, torch.autograd.grad(CE(functional_call(model, w, (X,)), Y), list(w.values())), strict=True))
    norm = math.sqrt(sum(float(length(n, w[n].detach(), g[n]).square().sum()) for n in w))
    moved = {n: (w[n].detach() + radius * move(n, w[n].detach(), g[n]) / norm).requires_grad_() for n in w}
    return dict(zip(w, torch.autograd.grad(CE(functional_call(model, moved, (X,)), Y), list(moved.values())), strict=True))


def test_sam_is_the_gradient_uphill() -> None:
    expected = perturbed(network(), lambda n, w, g: g, lambda n, w, g: g, 0.3)
    loss, grads, plan = found(wf.SAM(0.3))
    assert close(grads, expected)
    assert equal(weights(plan.model), weights(network())), "the weights are back, bit for bit"
    assert float(loss) == float(CE(network()(X), Y).detach()), "the loss is the one before the ascent"


def test_sam_step_by_sgd() -> None:
    model = network()
    expected = perturbed(network(), lambda n, w, g: g, lambda n, w, g: g, 0.2)
    plan = wf.Recipe(wf.SAM(0.2)).compile(model)
    plan.attach(optimizer := torch.optim.SGD(model.parameters(), lr=0.1))
    before = weights(model)
    plan.backward(lambda: plan.objective(CE, model(X), Y))
    optimizer.step()
    assert close(weights(model), {n: t - 0.1 * expected[n] for n, t in before.items()})


def test_sam_may_leave_biases_in_place() -> None:
    def only_weights(n: str, w: Tensor, g: Tensor) -> Tensor:
        return g * (0.0 if n.endswith("bias") else 1.0)

    assert close(found(wf.SAM(0.3, select="weights"))[1], perturbed(network(), only_weights, only_weights, 0.3))


def test_asam_scales_the_ascent_by_the_weights() -> None:
    def scale(n: str, w: Tensor) -> Tensor:
        return torch.ones_like(w) if n.endswith("bias") else w.abs() + 0.02

    expected = perturbed(network(), lambda n, w, g: scale(n, w) ** 2 * g, lambda n, w, g: scale(n, w) * g, 0.7)
    assert close(found(wf.ASAM(0.7, floor=0.02))[1], expected)


def test_sam_moves_the_weights_under_an_autocast_around_it_too() -> None:
    """Autocast keeps the weights it has cast until it ends."""
    def gradient(part: wf.SAM, outside: bool) -> Weights:
        model = network(dtype=torch.float32)
        plan = wf.Recipe(part).compile(model)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=outside):
            def closure() -> Tensor:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return plan.objective(CE, model(X.float()), Y)
            plan.backward(closure)
        return gradients(model)

    assert equal(gradient(wf.SAM(0.5), True), gradient(wf.SAM(0.5), False))
    assert not equal(gradient(wf.SAM(0.5), True), gradient(wf.SAM(0.01), True))


def test_an_error_in_the_second_pass_leaves_the_weights_as_they_were() -> None:
    model, calls = network(), []
    plan = wf.Recipe(wf.SAM(0.5), wf.BatchNorm()).compile(model)
    before = weights(model)

    def closure() -> Tensor:
        calls.append(weights(model))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plan.objective(CE, model(X), Y)

    with pytest.raises(KeyboardInterrupt):
        plan.backward(closure)
    parameters_ = {n for n, _ in model.named_parameters()}
    assert equal({n: t for n, t in weights(model).items() if n in parameters_},
                 {n: t for n, t in before.items() if n in parameters_})
    assert not torch.equal(calls[1]["layers.0.weight"], before["layers.0.weight"])


def test_asam_does_not_notice_a_rescaling_of_units() -> None:
    """One unit ten times larger, its successor ten times smaller: the same function, the same ascent with floor 0."""
    def loss(factor: float) -> Tensor:
        model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)).double()
        source = network()
        with torch.no_grad():
            model[0].weight.copy_(source.layers[0].weight[:4] * factor)
            model[2].weight.copy_(source.layers[2].weight[:, :4] / factor)
        _, grads, _ = found(wf.ASAM(0.5, floor=0.0), model=model)
        return grads["0.weight"] * factor

    assert torch.allclose(loss(1.0), loss(10.0), rtol=1e-10)


@named("part", [wf.SAM(0.3), wf.VAT(1.0)])
def test_all_passes_have_the_same_dropout_masks(part: Regularizer) -> None:
    recipe = wf.Recipe(wf.Dropout(0.4), part)
    model = wf.MLP(5, (8, 8), 3, seed=1, dtype=torch.float64, activation="silu")  # which is zero where it was dropped only
    plan = recipe.compile(model, seed=7)
    seen: list[list[Tensor]] = [[], []]
    for n, layer in enumerate(model.layers[1:]):
        layer.register_forward_pre_hook(lambda m, i, n=n: seen[n].append(i[0].detach()))
    plan.backward(lambda: plan.objective(CE, model(X), Y))
    assert len(seen[0]) >= 2
    assert all(torch.equal(s[0] == 0, other == 0) for s in seen for other in s[1:])
    assert any(bool((s[0] == 0).any()) for s in seen)
    before = len(seen[0])
    plan.backward(lambda: plan.objective(CE, model(X), Y))
    assert not torch.equal(seen[0][0] == 0, seen[0][before] == 0), "the next step has other masks"

"""The loss phase: terms and maps of the outputs against their formulas, accumulation, scaling, and what is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import wellfit as wf
from drivers.differentiated import (
    BETWEEN,
    CE,
    MULTI,
    ONE_PASS,
    Weights,
    X,
    Y,
    by_hand,
    close,
    found,
    gradients,
    named,
)
from drivers.plain import INPUTS, STEPS, batches, equal, network, weights
from wellfit.core.regularizer import Regularizer

# ------------------------------------------------------------------------------------------------- nothing to do


def test_without_such_parts_it_is_the_criterion_and_its_backward() -> None:
    plain = network()
    CE(plain(X), Y).backward()
    loss, grads, plan = found(wf.Recipe(wf.L1(0.1)))
    assert equal(grads, gradients(plain))
    assert float(loss) == float(CE(plain(X), Y).detach())
    outputs = plan.model(X)
    assert torch.equal(plan.objective(CE, outputs, Y), CE(outputs, Y))


def test_gradients_add_up_and_are_divided() -> None:
    plain = network()
    (CE(plain(X), Y) / 4).backward()
    _, grads, plan = found(wf.Recipe(), divide=4)
    assert equal(grads, gradients(plain))
    plan.backward(lambda: plan.objective(CE, plan.model(X), Y), divide=4)
    assert close(gradients(plan.model), {n: g * 2 for n, g in grads.items()})


# ----------------------------------------------------------------------------------------------- outputs and terms


def test_confidence_penalty_is_its_formula() -> None:
    def objective(net: Callable[[Tensor], Tensor], w: Weights) -> Tensor:
        z = net(X)
        p = torch.softmax(z, 1)
        return CE(z, Y) + 0.3 * (p * p.log()).sum(1).mean()

    loss, grads, _ = found(wf.ConfidencePenalty(0.3))
    assert close(grads, by_hand(objective))
    assert float(loss) == float(CE(network()(X), Y).detach())


def test_confidence_penalty_of_one_logit() -> None:
    model = wf.MLP(5, (8,), 1, seed=1, dtype=torch.float64)
    y = (Y > 0).double()[:, None]

    def objective(net: Callable[[Tensor], Tensor], w: Weights) -> Tensor:
        z = net(X)
        p = torch.sigmoid(z)
        return functional.binary_cross_entropy_with_logits(z, y) + 0.3 * (p * p.log() + (1 - p) * (1 - p).log()).mean()

    for criterion in (functional.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss()):
        model.zero_grad()
        assert close(found(wf.ConfidencePenalty(0.3), y=y, criterion=criterion, model=model)[1], by_hand(objective, model))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_bootstrapping_is_its_formula(kind: str) -> None:
    def objective(net: Callable[[Tensor], Tensor], w: Weights) -> Tensor:
        z = net(X)
        q = torch.softmax(z, 1) if kind == "soft" else functional.one_hot(z.argmax(1), 3).double()
        t = 0.8 * functional.one_hot(Y, 3).double() + 0.2 * q
        return -(t * torch.log_softmax(z, 1)).sum(1).mean()

    loss, grads, _ = found(wf.BootstrappedLoss(0.2, kind=kind))
    assert close(grads, by_hand(objective))
    assert float(loss) == float(CE(network()(X), Y).detach())


def test_forward_correction_is_its_formula() -> None:
    transition = torch.full((3, 3), 0.15, dtype=torch.float64) + torch.eye(3, dtype=torch.float64) * 0.55

    def objective(net: Callable[[Tensor], Tensor], w: Weights) -> Tensor:
        return functional.nll_loss((torch.softmax(net(X), 1) @ transition).log(), Y)

    assert close(found(wf.ForwardCorrection(0.3))[1], by_hand(objective))


def test_forward_correction_finds_the_clean_probabilities() -> None:
    """Scores fitted to labels of which 30 in 100 are wrong: without correction p = 0.7, with it p → 1."""
    scores = nn.Linear(1, 4, bias=False, dtype=torch.float64)
    nn.init.zeros_(scores.weight)
    x, y = torch.ones(100, 1, dtype=torch.float64), torch.tensor([0] * 70 + [1] * 10 + [2] * 10 + [3] * 10)
    plan = wf.Recipe(wf.ForwardCorrection(0.3)).compile(scores)
    plan.attach(optimizer := torch.optim.SGD(scores.parameters(), lr=2.0))
    for _ in range(2000):
        optimizer.zero_grad()
        plan.backward(lambda: plan.objective(CE, scores(x), y))
        optimizer.step()
    assert float(torch.softmax(scores(x[:1]), 1)[0, 0].detach()) > 0.98


@pytest.mark.parametrize("part", [wf.ActivityPenalty(0.02), wf.ActivityPenalty(0.02, norm="l2")], ids=lambda p: p.norm)
def test_activity_penalty_is_its_formula(part: wf.ActivityPenalty) -> None:
    seen: list[Tensor] = []
    model = network()
    for layer in model.layers[1:]:
        layer.register_forward_pre_hook(lambda m, i: seen.append(i[0]))
    value = CE(model(X), Y)
    for a in seen:
        value = value + 0.02 * (a.abs() if part.norm == "l1" else a.square()).sum() / len(X)
    value.backward()
    loss, grads, _ = found(part)
    assert close(grads, gradients(model))
    assert float(loss) == float(CE(network()(X), Y).detach())


def test_activities_are_those_before_dropout_and_of_the_last_pass_alone() -> None:
    model = network()
    plan = wf.Recipe(wf.ActivityPenalty(0.5), wf.Dropout(0.9)).compile(model)
    model(INPUTS)  # of no interest
    _, grads, _ = found(wf.ActivityPenalty(0.5))
    plan.backward(lambda: plan.objective(lambda z, t: 0 * z.sum(), model(X), Y))
    plain = network()
    CE(plain(X), Y).backward()
    first = "layers.0.weight"  # the first activation is before any dropout: its term is the same; the second one's is not
    assert not torch.allclose(gradients(model)[first], grads[first] - gradients(plain)[first])
    alone = wf.Recipe(wf.ActivityPenalty(0.5), wf.Dropout(0.9)).compile(one := wf.MLP(5, (8,), 3, seed=1, dtype=torch.float64))
    alone.backward(lambda: alone.objective(lambda z, t: 0 * z.sum(), one(X), Y))
    other = wf.Recipe(wf.ActivityPenalty(0.5)).compile(two := wf.MLP(5, (8,), 3, seed=1, dtype=torch.float64))
    other.backward(lambda: other.objective(lambda z, t: 0 * z.sum(), two(X), Y))
    assert equal(gradients(one), gradients(two))


# ------------------------------------------------------------------------------------------ accumulation and scaling


@named("part", [*ONE_PASS, wf.InputGradientPenalty(0.3), wf.AdversarialNoise(0.4)])
def test_accumulation_is_the_big_batch(part: Regularizer) -> None:
    """Where the objective is a mean over examples."""
    _, whole, _ = found(part)
    model = network()
    plan = wf.Recipe(part).compile(model, seed=7, epochs=4, steps_per_epoch=STEPS)
    for n in range(4):
        rows = slice(n * 4, n * 4 + 4)
        plan.backward(lambda rows=rows: plan.objective(CE, model(X[rows]), Y[rows]), divide=4)  # type: ignore[misc]
    assert close(gradients(model), whole, 1e-10)


@named("part", [*MULTI, *ONE_PASS, *BETWEEN])
def test_a_gradient_scaler_changes_nothing_and_a_skipped_step_neither(part: Regularizer) -> None:
    def trained(scale: float, poison: int | None) -> tuple[wf.Plan, Weights, dict[str, Any]]:
        model = network(dtype=torch.float32)
        plan = wf.Recipe(wf.Dropout(0.2), part).compile(model, seed=2, epochs=1, steps_per_epoch=STEPS)
        plan.attach(optimizer := torch.optim.SGD(model.parameters(), lr=0.05))
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
        before = weights(model), plan.state_dict()
        for n, (x, y) in enumerate(batches()):
            before = weights(model), plan.state_dict()
            optimizer.zero_grad()
            x, factor = x.float(), float("inf") if n == poison else 1.0
            plan.backward(lambda x=x, y=y, f=factor: plan.objective(CE, model(x), y) * f, scaler=scaler)  # type: ignore[misc]
            scaler.step(optimizer)
            scaler.update()
            if n == poison:
                break
        return plan, *before

    plain, scaled = trained(1.0, None)[0], trained(1024.0, None)[0]
    exact = not isinstance(part, wf.SAM | wf.ASAM)  # whose norm is rounded elsewhere
    assert plain.steps == scaled.steps == STEPS
    assert equal(weights(plain.model), weights(scaled.model), 0.0 if exact else 1e-4)
    plan, before, state = trained(1024.0, 2)
    assert plan.steps == 2
    assert equal(weights(plan.model), before), "the skipped step moved the weights"
    if isinstance(part, wf.Lookahead):
        assert equal(plan.state_dict()["slow"], state["slow"])

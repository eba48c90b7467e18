"""Every method of the loss phase in the plain loop: it runs, alone and with others, and goes on after an interruption."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import wellfit as wf
from drivers.differentiated import (
    BETWEEN,
    CE,
    MULTI,
    ONE_PASS,
    Weights,
    X,
    Y,
    named,
)
from drivers.plain import INPUTS, LABELS, OPTIMIZERS, STEPS, batches, equal, network, weights
from wellfit.core.regularizer import Regularizer
from wellfit.core.surgery import statistics_kept
from wellfit.drivers.loop import train


@named("part", [*MULTI, *ONE_PASS, *BETWEEN])
def test_every_method_runs_in_the_loop(part: Regularizer) -> None:
    def final(recipe: wf.Recipe) -> tuple[Weights, wf.Plan]:
        model = network()
        plan = recipe.compile(model, seed=4, epochs=2, steps_per_epoch=4)
        train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, CE, epochs=2, batch_size=20)
        return weights(model), plan

    with warnings.catch_warnings():
        warnings.simplefilter("error", wf.WellfitWarning)
        first, plan = final(wf.Recipe(wf.Dropout(0.2), part))
        assert equal(first, final(wf.Recipe(wf.Dropout(0.2), part))[0])
    plain, _ = final(wf.Recipe(wf.Dropout(0.2)))
    if isinstance(part, wf.SnapshotEnsemble):
        assert equal(first, plain) and len(plan.snapshots) == 2
    else:
        assert not equal(first, plain)


@named("part", [*MULTI, *ONE_PASS, *BETWEEN])
def test_a_run_goes_on_exactly_after_an_interruption(part: Regularizer, tmp_path: Path) -> None:
    recipe = wf.Recipe(wf.Dropout(0.3), part)

    def made(seed: int) -> tuple[wf.Plan, torch.optim.Optimizer]:
        plan = recipe.compile(network(seed), seed=3, epochs=4, steps_per_epoch=STEPS)
        plan.attach(optimizer := OPTIMIZERS["adamw"](plan.model.parameters()))
        return plan, optimizer

    def advance(plan: wf.Plan, optimizer: torch.optim.Optimizer, start: int, end: int) -> None:
        for n in range(start, end):
            x, y = batches()[n % STEPS]
            optimizer.zero_grad()
            for half in (slice(0, 8), slice(8, 16)):
                plan.backward(lambda x=x[half], y=y[half]: plan.objective(CE, plan.model(x), y), divide=2)  # type: ignore[misc]
            optimizer.step()
            if (n + 1) % STEPS == 0:
                plan.observe()

    plan, optimizer = made(1)
    advance(plan, optimizer, 0, 4 * STEPS)
    broken, its_optimizer = made(1)
    advance(broken, its_optimizer, 0, 2 * STEPS + 1)
    torch.save({"model": broken.model.state_dict(), "optimizer": its_optimizer.state_dict(), "plan": broken.state_dict()},
               tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again, its_optimizer = made(2)
    again.model.load_state_dict(state["model"])
    its_optimizer.load_state_dict(state["optimizer"])
    again.load_state_dict(state["plan"])
    advance(again, its_optimizer, 2 * STEPS + 1, 4 * STEPS)
    assert equal(weights(again.model), weights(plan.model))
    assert len(again.snapshots) == len(plan.snapshots)
    assert all(equal(a, b) for a, b in zip(again.snapshots, plan.snapshots, strict=True))


@pytest.mark.parametrize("parts", [(wf.SAM(0.1), wf.RDrop(0.5), wf.VAT(0.3), wf.ConfidencePenalty(0.1)),
                                   (wf.ASAM(0.1), wf.AdversarialNoise(0.3), wf.JacobianPenalty(0.1), wf.ActivityPenalty(0.01)),
                                   (wf.Mixup(0.3), wf.LabelSmoothing(0.1), wf.SAM(0.1), wf.BootstrappedLoss(0.1)),
                                   (wf.BatchNorm(), wf.SAM(0.1), wf.RDrop(0.5), wf.EMA(0.9), wf.Lookahead(0.5))],
                         ids=lambda parts: "+".join(p.name for p in parts))
@pytest.mark.filterwarnings("ignore:Dropout before a batch norm")
def test_methods_work_together(parts: tuple[Regularizer, ...]) -> None:
    model = network()
    plan = wf.Recipe(wf.Dropout(0.2), *parts).compile(model, seed=4, epochs=2, steps_per_epoch=6)
    train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, CE, epochs=2, batch_size=16,
          calibration=[INPUTS] if "ema" in plan.recipe else None)
    assert all(bool(t.isfinite().all()) for t in weights(model).values())


def test_statistics_kept_leaves_no_trace_and_breaks_no_graph() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    out = model(X)
    before = weights(model)
    with statistics_kept(model):
        second = model(X * 2)
    assert equal(weights(model), before)
    (CE(out, Y) + CE(second, Y)).backward()
    model(X * 2)
    assert not equal(weights(model), before)

"""The plain loop: the same as the same calls written out, and nothing more."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import wellfit as wf
from drivers.plain import ACTIVE, INPUTS, LABELS, OPTIMIZERS, equal, network, weights
from wellfit.drivers.loop import train

RECIPE = ACTIVE + wf.Dropout(wf.Linear(0.1, 0.4)) + wf.Mixup(0.3) + wf.LabelSmoothing(0.1) + wf.EMA(0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["momentum", "fused adamw"])
def test_the_loop_is_the_calls_written_out(name: str) -> None:
    schedule = wf.Cosine(1.0, 0.1)
    models = [network(), network()]
    plans = [RECIPE.compile(m, seed=4, epochs=3, steps_per_epoch=4) for m in models]
    train(plans[0], OPTIMIZERS[name](models[0].parameters()), INPUTS, LABELS, functional.cross_entropy, epochs=3, batch_size=20,
          rate_schedule=schedule)

    plan, model = plans[1], models[1]
    optimizer = OPTIMIZERS[name](model.parameters())
    plan.attach(optimizer)
    base = optimizer.param_groups[0]["lr"]
    for epoch in range(3):
        order = plan.streams.at("order", epoch).permutation(96)
        for n in range(4):  # 96 rows are four batches of 20; the last 16 rows of the shuffle are left out
            optimizer.param_groups[0]["lr"] = base * schedule.at((epoch * 4 + n) / 12)
            rows = order[n * 20:(n + 1) * 20]
            x, y = plan.batch(INPUTS[rows], LABELS[rows])
            optimizer.zero_grad()
            plan.loss(functional.cross_entropy(model(x), y)).backward()
            optimizer.step()
        plan.observe()
    plan.finish()
    assert equal(weights(models[0]), weights(model))
    assert not models[0].training


def test_the_seed_decides_everything() -> None:
    def final(seed: int) -> dict[str, torch.Tensor]:
        model = network()
        plan = RECIPE.compile(model, seed=seed, epochs=2, steps_per_epoch=6)
        torch.rand(seed + 1)  # the global generator does not matter
        train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, functional.cross_entropy, epochs=2, batch_size=16)
        return weights(model)

    assert equal(final(3), final(3))
    assert not equal(final(3), final(4))


def test_training_leaves_the_global_generator_alone() -> None:
    model = network()
    before = torch.random.get_rng_state()
    plan = RECIPE.compile(model, epochs=1, steps_per_epoch=6)
    train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, functional.cross_entropy, epochs=1, batch_size=16)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    model = network()
    plan = wf.Recipe(wf.L1(1e-4)).compile(model)
    train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, functional.cross_entropy, epochs=5, batch_size=1000)
    assert plan.steps == 5
    assert plan.epoch == 5


def test_it_stops_when_told() -> None:
    model = network()
    plan = wf.Recipe(wf.EarlyStopping(patience=2)).compile(model)
    curve = iter([1.0, 0.9, 0.95, 0.96, 0.1])
    train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, functional.cross_entropy, epochs=100, batch_size=16,
          after_epoch=lambda plan: {"validation_loss": next(curve)})
    assert plan.epoch == 4


def test_it_learns() -> None:
    targets = (INPUTS[:, 0] > 0).long()
    model = network()
    plan = wf.Recipe(wf.Dropout(0.1), wf.WeightDecay(rate=0.01), wf.LabelSmoothing(0.05)).compile(model)
    train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, targets, functional.cross_entropy, epochs=30, batch_size=16)
    assert float((model(INPUTS).argmax(1) == targets).double().mean()) > 0.95

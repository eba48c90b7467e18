"""Which weights come out: best, averaged, on every exit; and what evaluation sees on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import wellfit as wf
from drivers.plain import ACTIVE, INPUTS, LABELS, OPTIMIZERS, STEPS, batches, equal, network, step, trained, weights
from wellfit.drivers.loop import train

CURVE = [1.0, 0.7, 0.8, 0.9, 0.95, 0.5]


def run(plan: wf.Plan, optimizer: torch.optim.Optimizer, curve: list[float], after: Callable[[int], None] | None = None,
        ) -> Iterator[dict[str, torch.Tensor]]:
    """Train epoch by epoch, report the curve, and hand out the weights after each epoch."""
    for epoch, value in enumerate(curve, 1):
        plan.model.train()
        for x, y in batches():
            step(plan, optimizer, x, y)
        state = weights(plan.model)
        verdict = plan.observe(validation_loss=value)
        if after is not None:
            after(epoch)
        yield state
        if verdict.stop:
            return


def prepared(recipe: wf.Recipe, model: nn.Module | None = None,
             epochs: int = len(CURVE)) -> tuple[wf.Plan, torch.optim.Optimizer]:
    model = model or network()
    plan = recipe.compile(model, epochs=epochs, steps_per_epoch=STEPS)
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    plan.attach(optimizer)
    return plan, optimizer


# ------------------------------------------------------------------------------------------------ early stopping


def test_patience_stops_and_restores_the_best() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EarlyStopping(patience=3), wf.L1(1e-3)))
    states = list(run(plan, optimizer, CURVE))
    assert len(states) == 5
    assert equal(weights(plan.finish()), states[1])


def test_the_last_epoch_restores_the_best_too() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EarlyStopping(patience=100)))
    states = list(run(plan, optimizer, CURVE[:5]))
    assert len(states) == 5
    assert equal(weights(plan.finish()), states[1])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_restores_the_best_and_passes_on(error: type[BaseException]) -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EarlyStopping(patience=100), wf.Dropout(0.2)))
    states: list[dict[str, torch.Tensor]] = []

    def fail(epoch: int) -> None:
        if epoch == 4:
            raise error("in the middle")

    with pytest.raises(error, match="in the middle"), plan:
        states.extend(run(plan, optimizer, CURVE, fail))
    assert equal(weights(plan.model), states[1])
    assert not plan.model.training
    x = INPUTS[:4]
    plan.model.train()
    assert torch.equal(plan.model(x), plan.model(x)), "dropout is gone: the hooks were removed"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_plain_loop_restores_the_best_on_an_exception(error: type[BaseException]) -> None:
    model = network()
    plan = wf.Recipe(wf.EarlyStopping(patience=100)).compile(model, seed=3, epochs=6, steps_per_epoch=STEPS)
    states: list[dict[str, torch.Tensor]] = []

    def after(plan: wf.Plan) -> dict[str, float]:
        states.append(weights(plan.model))
        if len(states) == 4:
            raise error
        return {"validation_loss": CURVE[len(states) - 1]}

    with pytest.raises(error):
        train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, nn.functional.cross_entropy, epochs=6,
              batch_size=16, after_epoch=after)
    assert equal(weights(model), states[1])


def test_the_plain_loop_passes_an_exception_on_where_averaged_weights_cannot_be_finished() -> None:
    model = normed()
    plan = wf.Recipe(wf.EMA(0.9)).compile(model)

    def after(plan: wf.Plan) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan, OPTIMIZERS["adamw"](model.parameters()), INPUTS, LABELS, nn.functional.cross_entropy, epochs=2,
              batch_size=16, after_epoch=after)
    assert not model.training


def test_the_verdict_tells_where_things_stand() -> None:
    plan, _ = prepared(wf.Recipe(wf.EarlyStopping(patience=2)))
    found = [plan.observe(validation_loss=v) for v in (1.0, 0.5, 0.6, 0.7)]
    assert [v.improved for v in found] == [True, True, False, False]
    assert [v.stop for v in found] == [False, False, False, True]
    assert [v.best_epoch for v in found] == [1, 2, 2, 2]
    assert [v.epoch for v in found] == [1, 2, 3, 4]


def test_without_a_monitor_training_goes_on_and_the_last_weights_stay() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.L1(1e-3)))
    states = list(run(plan, optimizer, CURVE))
    assert len(states) == len(CURVE)
    assert equal(weights(plan.finish()), states[-1])


def test_a_missing_number_is_named() -> None:
    plan, _ = prepared(wf.Recipe(wf.EarlyStopping(monitor="validation_error")))
    with pytest.raises(wf.WellfitError, match=r"watches validation_error.*") as caught:
        plan.observe(validation_loss=1.0)
    assert "received: validation_loss" in str(caught.value)


def test_a_run_that_is_never_a_number_keeps_its_last_weights() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EarlyStopping(patience=2)))
    states = list(run(plan, optimizer, [float("nan")] * 6))
    assert len(states) == 2
    assert equal(weights(plan.finish()), states[-1])


def test_finishing_twice_is_finishing_once() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EarlyStopping(patience=100)))
    list(run(plan, optimizer, CURVE[:3]))
    first = weights(plan.finish())
    with torch.no_grad():
        for p in plan.model.parameters():
            p.add_(1.0)
    moved = weights(plan.model)
    assert equal(weights(plan.finish()), moved)
    assert not equal(first, moved)


# ----------------------------------------------------------------------------------------------------- averaging


def by_hand(model: nn.Module, decay: float) -> Callable[[], dict[str, torch.Tensor]]:
    average = {n: p.detach().clone() for n, p in model.named_parameters()}
    count = [0]

    def take() -> dict[str, torch.Tensor]:
        d = min(decay, (1 + count[0]) / (10 + count[0]))
        count[0] += 1
        for n, p in model.named_parameters():
            average[n] = d * average[n] + (1 - d) * p.detach()
        return average

    return take


def test_ema_is_its_recurrence_and_is_what_is_evaluated_and_returned() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8)))
    take = by_hand(plan.model, 0.8)
    for x, y in batches() + batches():
        step(plan, optimizer, x, y)
        expected = take()
    current = weights(plan.model)
    with plan.evaluating() as model:
        assert not model.training
        assert equal(weights(model), expected, 1e-12)
        inside = weights(model)
    assert plan.model.training
    assert equal(weights(plan.model), current), "the current weights are back, bit for bit"
    assert equal(weights(plan.finish()), inside)


def test_swa_is_the_mean_of_the_epochs_from_its_start() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.SWA(0.5)), epochs=6)
    states = list(run(plan, optimizer, CURVE))
    expected = {n: torch.stack([s[n] for s in states[3:]]).mean(0) for n in states[0]}
    assert equal(weights(plan.finish()), expected, 1e-12)


def test_before_its_start_swa_shows_the_current_weights() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.SWA(0.9)), epochs=6)
    for state in run(plan, optimizer, CURVE[:3]):
        with plan.evaluating() as model:
            assert equal(weights(model), state)


def test_an_average_is_taken_once_per_epoch_however_often_one_looks() -> None:
    def final(looks: int) -> dict[str, torch.Tensor]:
        plan, optimizer = prepared(wf.Recipe(wf.SWA(0.3)), epochs=4)
        for value in CURVE[:4]:
            for x, y in batches():
                step(plan, optimizer, x, y)
            for _ in range(looks):
                with plan.evaluating():
                    pass
            plan.observe(validation_loss=value)
            for _ in range(looks):
                with plan.evaluating():
                    pass
        return weights(plan.finish())

    assert equal(final(0), final(2))


def normed() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh(),
                          nn.Linear(6, 3)).double()
    with torch.no_grad():
        for n, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(n), dtype=torch.float64))
    return model


def statistics_of(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = model[2](model[0](x))  # type: ignore[index]  # without the dropout between them
    return hidden.mean(0), hidden.var(0)


@pytest.mark.parametrize("part", [wf.EMA(0.8), wf.SWA(0.2)], ids=lambda p: p.name)
def test_averaged_weights_get_batch_norm_statistics_of_their_own(part: Any) -> None:
    plan, optimizer = prepared(wf.Recipe(part), normed())
    list(run(plan, optimizer, CURVE[:3]))
    before = weights(plan.model)
    with plan.evaluating([INPUTS]) as model:
        mean, variance = statistics_of(model, INPUTS)
        assert torch.allclose(model[3].running_mean, mean, rtol=1e-10)  # type: ignore[index]
        assert torch.allclose(model[3].running_var, variance, rtol=1e-10)  # type: ignore[index]
    assert equal(weights(plan.model), before), "weights and statistics are as before"
    final = plan.finish([INPUTS])
    assert torch.allclose(final[3].running_mean, statistics_of(final, INPUTS)[0], rtol=1e-10)  # type: ignore[index]
    assert not final.training


def test_recalibration_leaves_dropout_off_and_averages_over_batches() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8), wf.Dropout(0.3)), normed())
    list(run(plan, optimizer, CURVE[:2]))
    with plan.evaluating([(INPUTS[:48], None), (INPUTS[48:], None)]) as model:
        parts = [statistics_of(model, INPUTS[:48]), statistics_of(model, INPUTS[48:])]
        assert torch.allclose(model[3].running_mean, (parts[0][0] + parts[1][0]) / 2, rtol=1e-10)  # type: ignore[index]
        assert torch.allclose(model[3].running_var, (parts[0][1] + parts[1][1]) / 2, rtol=1e-10)  # type: ignore[index]
        assert model[3].momentum == 0.1  # type: ignore[index]


def test_averaged_weights_with_batch_norm_ask_for_batches() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8)), normed())
    list(run(plan, optimizer, CURVE[:2]))
    before = weights(plan.model)
    with pytest.raises(wf.WellfitError, match="statistics of their own"), plan.evaluating():
        pass
    assert equal(weights(plan.model), before)
    with pytest.raises(wf.WellfitError, match=r"plan\.finish\(loader\)"):
        plan.finish()
    plan.finish(batches())


@pytest.mark.parametrize("way", ["finish with batches", "finish without", "exception"])
def test_the_best_averaged_weights_come_back_with_their_own_statistics(way: str) -> None:
    """Also on an exception, where nobody can hand over batches."""
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8), wf.EarlyStopping(patience=100)), normed())
    seen: list[dict[str, torch.Tensor]] = []

    def go() -> None:
        for value in CURVE[:4]:
            plan.model.train()
            for x, y in batches():
                step(plan, optimizer, x, y)
            with plan.evaluating([INPUTS]) as model:
                seen.append(weights(model))
            plan.observe(validation_loss=value)
        if way == "exception":
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), plan if way == "exception" else contextlib.nullcontext():
        go()
    final = plan.model if way == "exception" else plan.finish([INPUTS] if way == "finish with batches" else None)
    counters = {n for n in seen[1] if n.endswith("num_batches_tracked")}
    assert equal({n: t for n, t in weights(final).items() if n not in counters},
                 {n: t for n, t in seen[1].items() if n not in counters})


def test_best_averaged_weights_without_statistics_are_refused_rather_than_returned_wrong() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8), wf.EarlyStopping(patience=100)), normed())
    list(run(plan, optimizer, CURVE[:3]))  # observed without evaluating(): no statistics were ever made
    with pytest.raises(wf.WellfitError, match="statistics of their own"):
        plan.finish()
    assert not plan.finish([INPUTS]).training


def test_an_exception_without_statistics_leaves_the_last_weights() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8)), normed())
    states: list[dict[str, torch.Tensor]] = []

    def go() -> None:
        with plan:
            states.extend(run(plan, optimizer, CURVE[:2]))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        go()
    assert equal(weights(plan.model), states[-1])
    assert not plan.model.training


def test_evaluating_restores_after_an_exception_inside() -> None:
    plan, optimizer = prepared(wf.Recipe(wf.EMA(0.8)))
    list(run(plan, optimizer, CURVE[:2]))
    plan.model.train()
    before = weights(plan.model)
    with pytest.raises(RuntimeError), plan.evaluating():
        raise RuntimeError
    assert equal(weights(plan.model), before)
    assert plan.model.training


# ------------------------------------------------------------------------------------------- saving and resuming


EVERYTHING = ACTIVE + wf.Dropout(0.3) + wf.Mixup(0.3) + wf.InputNoise(0.1) + wf.LabelSmoothing(0.1) + wf.EMA(0.9) \
    + wf.EarlyStopping(patience=3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("at", [4, 6, 15])
def test_a_run_goes_on_exactly_from_its_saved_state(tmp_path: Any, optimizer: str, at: int) -> None:
    def fresh(seed: int) -> tuple[wf.Plan, torch.optim.Optimizer]:
        model = network(seed)
        plan = EVERYTHING.compile(model, seed=7, epochs=4, steps_per_epoch=STEPS)
        made = OPTIMIZERS[optimizer](model.parameters())
        plan.attach(made)
        return plan, made

    def go(plan: wf.Plan, made: torch.optim.Optimizer, start: int, end: int) -> None:
        for n in range(start, end):
            plan.model.train()
            step(plan, made, *batches()[n % STEPS])
            if (n + 1) % STEPS == 0:
                plan.observe(validation_loss=CURVE[n // STEPS])

    expected, made = fresh(1)
    go(expected, made, 0, 24)
    interrupted, made = fresh(1)
    go(interrupted, made, 0, at)
    saved = {"m": interrupted.model.state_dict(), "o": made.state_dict(), "p": interrupted.state_dict()}
    torch.save(saved, tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    resumed, made = fresh(99)
    resumed.model.load_state_dict(state["m"])
    made.load_state_dict(state["o"])
    resumed.load_state_dict(state["p"])
    go(resumed, made, at, 24)
    assert equal(weights(resumed.model), weights(expected.model))
    assert equal(weights(resumed.finish()), weights(expected.finish()))


def test_a_saved_state_is_not_changed_by_going_on() -> None:
    plan, optimizer = trained(EVERYTHING, epochs=1)
    plan.observe(validation_loss=1.0)
    state = plan.state_dict()
    kept = {n: t.clone() for n, t in state["averages"].items()}
    for x, y in batches():
        step(plan, optimizer, x, y)
    plan.observe(validation_loss=0.5)
    assert equal(state["averages"], kept)
    assert state["steps"] == STEPS


def test_the_state_of_another_recipe_is_refused() -> None:
    state = wf.Recipe(wf.EMA()).compile(network()).state_dict()
    with pytest.raises(wf.WellfitError, match="another recipe"):
        wf.Recipe(wf.EarlyStopping()).compile(network()).load_state_dict(state)


def test_averaged_weights_keep_exact_zeros() -> None:
    """L1 with EMA: the average of a weight that the prox has set to zero is returned as zero."""
    net = torch.nn.Linear(6, 3)
    plan = wf.Recipe(wf.L1(0.5), wf.EMA(0.9)).compile(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    plan.attach(optimizer)
    for _ in range(40):
        optimizer.zero_grad()
        net(torch.ones(4, 6)).square().mean().backward()
        optimizer.step()
    zeros = net.weight.detach() == 0
    assert zeros.any()
    assert torch.equal(plan.finish().weight.detach() == 0, zeros)


def test_an_evaluation_does_not_end_an_epoch() -> None:
    """SWA counts epochs, not evaluations: looking twice in an epoch leaves the average as looking once does."""
    averages = []
    for looks in (1, 3):
        torch.nn.init.constant_((net := torch.nn.Linear(2, 1, bias=False)).weight, 1.0)
        plan = wf.Recipe(wf.SWA(0.0)).compile(net, epochs=3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        plan.attach(optimizer)
        for _ in range(3):
            for _ in range(2):
                optimizer.zero_grad()
                net(torch.ones(1, 2)).sum().backward()
                optimizer.step()
                for _ in range(looks - 1):
                    with plan.evaluating():
                        pass
            with plan.evaluating():
                pass
            plan.observe()
        averages.append(plan.finish().weight.detach().clone())
    assert torch.equal(*averages)

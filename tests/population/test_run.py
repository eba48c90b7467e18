"""Halving, stopping, saving and resuming a stack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import wellfit as wf
from population.solo import CASES, EPOCHS, PROBLEMS, allowed, alone, classification, gap, member, new_stack, state_of, trained
from wellfit.population.problem import Member
from wellfit.population.stack import Stack

pytestmark = pytest.mark.usefixtures("tier")

PLAIN = ["everything", "nothing", "l1", "everything with skips", "swa", "patience", "ema", "group lasso", "clipping schedule",
         "mixup", "generalization loss"]
NORMED = ["norm", "norm and ema", "norm, swa and patience", "norm and everything"]


def run(stack: Stack, epochs: int) -> None:
    for _ in range(epochs):
        stack.run_epoch()


# --------------------------------------------------------------------------------------------------------- halving


@pytest.mark.parametrize("chosen", [PLAIN, NORMED], ids=["plain", "normed"])
@pytest.mark.parametrize("at", range(EPOCHS))
def test_keeping_some_leaves_them_as_they_were(chosen: list[str], at: int) -> None:
    members = [member(n) for n in chosen]
    whole, _ = trained(PROBLEMS["classification"], members)
    rows = [len(members) - 1, 1, 2]  # in another order, too
    stack = new_stack(PROBLEMS["classification"], members, dtype=torch.float64)
    run(stack, at)
    stack.keep(rows)
    assert stack.members == [members[r] for r in rows]
    run(stack, EPOCHS - at)
    for row, old in enumerate(rows):
        assert gap(state_of(*stack.final(), row), state_of(*whole.final(), old)) <= allowed(members[old])
        assert stack.best_epoch[row] == whole.best_epoch[old]
        assert stack.stopped[row] == whole.stopped[old]


def test_keeping_one_after_another() -> None:
    members = [member(n) for n in PLAIN]
    whole, _ = trained(PROBLEMS["classification"], members)
    stack = new_stack(PROBLEMS["classification"], members, dtype=torch.float64)
    left = list(range(len(members)))
    for drop in ([0, 4], [1], [3]):
        run(stack, 1)
        rows = [r for r in range(len(left)) if r not in drop]
        stack.keep(rows)
        left = [left[r] for r in rows]
    run(stack, 1)
    for row, old in enumerate(left):
        assert gap(state_of(*stack.final(), row), state_of(*whole.final(), old)) <= 1e-12


def test_keeping_those_without_an_average_or_a_monitor() -> None:
    stack = new_stack(PROBLEMS["classification"], [member("everything"), member("nothing"), member("l1")], dtype=torch.float64)
    run(stack, 1)
    stack.keep([1, 2])
    run(stack, EPOCHS - 1)
    for row, name in enumerate(("nothing", "l1")):
        expected = alone(PROBLEMS["classification"], member(name)).state
        assert gap(state_of(*stack.final(), row), expected) <= 1e-12
    assert not stack.stopped.any()


# -------------------------------------------------------------------------------------------------------- stopping


def test_a_stopped_member_returns_its_best_epoch_however_long_the_others_go_on() -> None:
    problem = classification(epochs=12)
    members = [Member(wf.Recipe(wf.EarlyStopping(patience=1)), 0.05, seed=s) for s in range(4)] + [member("nothing")]
    stack = new_stack(problem, members, dtype=torch.float64)
    judged, stopped_at = [], np.zeros(5, int)
    losses = []
    for epoch in range(1, problem.epochs + 1):
        losses.append(stack.run_epoch()["validation_loss"])
        judged.append(stack.weights.values.clone())
        stopped_at[stack.stopped & (stopped_at == 0)] = epoch
    weights, _ = stack.final()
    assert (stopped_at[:4] > 0).all()
    assert (stopped_at[:4] < problem.epochs).any(), "none stopped before the end: the test says nothing"
    for k in range(4):
        until = np.array(losses)[:stopped_at[k], k]
        best = int(until.argmin()) + 1
        assert stack.best_epoch[k] == best, "a later epoch, after the stop, was taken for the best"
        assert torch.equal(weights.values[k], judged[best - 1][k])
        expected = alone(problem, members[k])
        assert len(expected.history) == stopped_at[k]
        assert gap(state_of(*stack.final(), k), expected.state) <= 1e-12
    assert torch.equal(weights.values[4], judged[-1][4])
    assert stack.best_epoch[4] == problem.epochs


def test_what_comes_after_the_stop_is_not_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other members go on, and so does the stopped one's training: a later, better epoch must not count for it."""
    curve = np.array([[1.0, 1.0], [0.5, 0.5], [0.6, 0.6], [0.1, 0.1], [0.7, 0.7]])
    stack = new_stack(classification(epochs=5), [Member(wf.Recipe(wf.EarlyStopping(patience=p)), 0.01, seed=1) for p in (1, 9)],
                  dtype=torch.float64)
    monkeypatch.setattr(stack, "measure", lambda: {"validation_loss": curve[stack.epoch - 1]})
    judged = []
    for _ in range(5):
        stack.run_epoch()
        judged.append(stack.weights.values.clone())
    assert stack.stopped.tolist() == [True, False]
    assert stack.best_epoch.tolist() == [2, 4]
    weights, _ = stack.final()
    assert torch.equal(weights.values[0], judged[1][0])
    assert torch.equal(weights.values[1], judged[3][1])


def test_the_last_epoch_counts_when_nothing_stopped() -> None:
    own = Member(wf.Recipe(wf.EarlyStopping(patience=100)), 0.05, seed=1)
    problem = classification(epochs=6)
    stack = new_stack(problem, [own], dtype=torch.float64)
    losses, judged = [], []
    for _ in range(6):
        losses.append(float(stack.run_epoch()["validation_loss"][0]))
        judged.append(stack.weights.values.clone())
    assert not stack.stopped.any()
    assert stack.done
    assert stack.best_epoch[0] == int(np.argmin(losses)) + 1
    assert torch.equal(stack.final()[0].values, judged[int(np.argmin(losses))])


@pytest.mark.parametrize("name", ["nothing", "everything", "swa"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_member_may_end_at_an_epoch_of_its_own(name: str, epochs: int) -> None:
    """The schedules still run over the length of the problem: a refit repeats the beginning of the run it repeats."""
    base = member(name)
    own = Member(base.recipe, base.learning_rate, base.seed, base.fold, epochs=epochs)
    stack = new_stack(PROBLEMS["classification"], [own, member("nothing")], dtype=torch.float64)
    for epoch in range(1, epochs + 1):
        assert not stack.finished()[0]
        stack.run_epoch()
        assert not stack.finished()[1] or epoch == EPOCHS
    assert stack.finished().tolist() == [True, False]
    assert gap(state_of(*stack.final(), 0), alone(PROBLEMS["classification"], own).state) <= 1e-12
    assert not stack.done
    run(stack, EPOCHS - epochs)
    assert stack.done


def test_diverged_from_the_start_keeps_the_last_weights() -> None:
    own = Member(wf.Recipe(wf.EarlyStopping(patience=2)), 1e200, seed=1)
    stack, _ = trained(PROBLEMS["classification"], [own, member("nothing")])
    assert stack.stopped[0]
    assert stack.best_epoch[0] == 0
    assert torch.equal(stack.final()[0].values[0], stack.weights.values[0]) or stack.weights.values[0].isnan().any()


# ------------------------------------------------------------------------------------------------ saving, resuming


def saved(stack: Stack, path: Any) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file, save_file

    save_file(stack.state(), path)
    return load_file(path)


def same(a: Stack, b: Stack) -> None:
    for found, expected in zip(a.final(), b.final()):
        assert torch.equal(found.values, expected.values)
    assert a.best_epoch.tolist() == b.best_epoch.tolist()
    assert a.stopped.tolist() == b.stopped.tolist()
    assert (a.epoch, a.step) == (b.epoch, b.step)


@pytest.mark.parametrize("chosen", [PLAIN, NORMED], ids=["plain", "normed"])
@pytest.mark.parametrize("at", range(EPOCHS))
def test_a_resumed_stack_goes_on_exactly(tmp_path: Any, chosen: list[str], at: int) -> None:
    members = [member(n) for n in chosen]
    whole, _ = trained(PROBLEMS["classification"], members)
    first = new_stack(PROBLEMS["classification"], members, dtype=torch.float64)
    run(first, at)
    state = saved(first, tmp_path / "state.safetensors")
    run(first, 1)  # going on must not change what was saved
    again = new_stack(PROBLEMS["classification"], members, dtype=torch.float64)
    again.load_state(state)
    run(again, EPOCHS - at)
    same(again, whole)


def test_a_thinned_stack_is_resumed_by_one_built_for_its_members(tmp_path: Any) -> None:
    """Two kinds of monitors: which state is whose must not hang on the values in the recipes."""
    recipes = [wf.Recipe(wf.EarlyStopping(patience=9)), wf.Recipe(wf.EarlyStopping(patience=3)),
               wf.Recipe(wf.EarlyStopping(patience=5, criterion="gl", threshold=0.5)),
               wf.Recipe(wf.L1(1e-3, select="first"), wf.L1(1e-2, select="last"))]
    members = [Member(recipe, 0.01 * (1 + n), seed=n) for n, recipe in enumerate(recipes)]
    problem = classification(epochs=8)
    thinned = new_stack(problem, members, dtype=torch.float64)
    run(thinned, 2)
    thinned.keep([1, 2, 3])
    run(thinned, 1)
    state = saved(thinned, tmp_path / "state.safetensors")
    again = new_stack(problem, members[1:], dtype=torch.float64)
    again.load_state(state)
    run(thinned, 5)
    run(again, 5)
    same(again, thinned)


def test_saving_does_not_tie_the_state_to_the_stack() -> None:
    stack, _ = trained(PROBLEMS["classification"], [member("everything")], 1)
    again = new_stack(PROBLEMS["classification"], [member("everything")], dtype=torch.float64)
    again.load_state(stack.state())
    before = again.weights.values.clone()
    stack.run_epoch()
    assert torch.equal(again.weights.values, before)


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith(("l1", "ema", "patience", "norm"))])
def test_training_twice_is_the_same(name: str) -> None:
    first, second = (trained(PROBLEMS["classification"], [member(name), member(name)], 2)[0] for _ in range(2))
    assert torch.equal(first.weights.values, second.weights.values)

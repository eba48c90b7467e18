"""Member k of a stack equals the same configuration trained alone by the plain loop: the ground the population stands on."""

from __future__ import annotations

import pytest
import torch

import wellfit as wf
from population.solo import (
    CASES,
    PROBLEMS,
    allowed,
    alone,
    alone_by_name,
    classification,
    gap,
    member,
    new_stack,
    state_of,
    together,
    trained,
)
from wellfit.core.errors import WellfitError
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Member, Objective
from wellfit.population.stack import Stack

pytestmark = pytest.mark.usefixtures("tier")


def agree(stack: Stack, row: int, expected: dict[str, torch.Tensor], slack: float) -> None:
    found = state_of(*stack.final(), row)
    assert set(found) <= set(expected)
    assert gap(found, expected) <= slack


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", CASES)
def test_each_beside_members_without_it(problem: str, name: str) -> None:
    """A stack of three of which the middle one has the parts: the others get the neutral values."""
    own = member(name)
    plain = Member(wf.Recipe(*([wf.BatchNorm()] if "batch_norm" in own.recipe else [])), 0.013, seed=77, fold=1)
    stack, history = trained(PROBLEMS[problem], [plain, own, plain])
    expected = alone_by_name(problem, name)
    agree(stack, 1, expected.state, allowed(own))
    for epoch, values in enumerate(expected.history):
        for metric, value in values.items():
            assert float(history[epoch][metric][1]) == pytest.approx(value, rel=1e-7, abs=1e-9), f"{metric}, epoch {epoch + 1}"
    assert torch.equal(stack.weights.values[0], stack.weights.values[2]), "two equal members differ"


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", CASES)
def test_all_together(problem: str, name: str) -> None:
    own = member(name)
    chosen, stack, _ = together(problem, "batch_norm" in own.recipe)
    agree(stack, chosen.index(name), alone_by_name(problem, name).state, allowed(own))


def test_a_member_without_parts_does_not_notice_the_others() -> None:
    """Bit for bit: neutral values are the identity."""
    plain = Member(wf.Recipe(), 0.01, seed=5)
    only, _ = trained(PROBLEMS["classification"], [plain, plain])
    others = [member(n) for n in CASES if "batch_norm" not in member(n).recipe]
    mixed, _ = trained(PROBLEMS["classification"], [plain, *others])
    found, expected = state_of(*mixed.final(), 0), state_of(*only.final(), 0)
    assert gap(found, expected) <= 1e-13  # one-hot targets round the loss once more than class numbers


def test_a_member_that_diverges_does_not_touch_the_others() -> None:
    good = [member("l1"), member("everything with skips"), member("ema")]
    bad = Member(wf.Recipe(wf.Mixup(0.5), wf.EMA(0.9), wf.L1(1e-3)), 1e200, seed=9)
    clean, _ = trained(PROBLEMS["classification"], good)
    beside, history = trained(PROBLEMS["classification"], [good[0], bad, *good[1:]])
    assert not history[-1]["train_loss"][1] < 1e3
    for row, other in ((0, 0), (2, 1), (3, 2)):
        assert gap(state_of(*beside.final(), row), state_of(*clean.final(), other)) <= 1e-13


@pytest.mark.parametrize("changes", [
    {"feature_groups": None}, {"batch_size": 7}, {"batch_size": 1000}, {"probe_rows": 10}, {"rate_schedule": wf.Constant(1.0)},
    {"network": NetworkSpec(6, (5,), 3, "gelu")}, {"network": NetworkSpec(6, (4, 7, 7, 3), 3, "selu")},
    {"network": NetworkSpec(6, (8, 8), 3, "relu")},
    {"objective": Objective("multiclass", "log_loss")}, {"objective": Objective("multiclass", "accuracy")}],
    ids=lambda c: "-".join(f"{k}={v}" for k, v in c.items())[:40])
def test_other_problems(changes: dict[str, object]) -> None:
    problem = classification(epochs=2, **changes)
    members = [member("everything"), member("nothing"), member("group lasso")]
    stack, _ = trained(problem, members)
    for row, own in enumerate(members):
        agree(stack, row, alone(problem, own).state, 1e-12)


def test_binary_classes_with_two_outputs() -> None:
    problem = classification(network=NetworkSpec(6, (8,), 2), targets=(PROBLEMS["classification"].targets > 0).long(),
                             objective=Objective("binary", "balanced_accuracy"), epochs=2)
    members = [member("everything"), member("smoothing")]
    stack, _ = trained(problem, members)
    for row, own in enumerate(members):
        agree(stack, row, alone(problem, own).state, 1e-12)


def test_folds_of_different_sizes_make_the_same_number_of_steps() -> None:
    folds = (Fold(torch.arange(0, 90), torch.arange(90, 120)), Fold(torch.arange(50, 120), torch.arange(0, 50)))
    problem = classification(folds=folds, epochs=2)
    assert problem.rows_per_fold == 70
    members = [Member(wf.Recipe(wf.L1(1e-3)), 0.01, seed=1, fold=0), Member(wf.Recipe(wf.Dropout(0.2)), 0.01, seed=2, fold=1)]
    stack, _ = trained(problem, members)
    for row, own in enumerate(members):
        agree(stack, row, alone(problem, own).state, 1e-12)


@pytest.mark.parametrize("name", ["everything", "norm and everything"])
def test_without_torchs_fused_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain arithmetic of the optimizer, for devices and types the fused kernel does not know."""
    own, problem = member(name), PROBLEMS["classification"]
    stack = new_stack(problem, [own, own], dtype=torch.float64)
    stack._fused = False
    for _ in range(problem.epochs):
        stack.run_epoch()
    agree(stack, 0, alone_by_name("classification", name).state, max(allowed(own), 1e-11))


def test_in_single_precision_members_follow_the_same_path() -> None:
    """Smooth parts only, and few steps: on the edge of a threshold two roundings part ways."""
    parts = (wf.L2(1e-3), wf.WeightDecay(rate=0.1), wf.Dropout(0.2), wf.Mixup(0.3), wf.MaxNorm(0.5), wf.EMA(0.9))
    own = Member(wf.Recipe(*parts), 0.01, seed=3)
    problem = classification(epochs=2)
    stack, _ = trained(problem, [own, member("nothing")], dtype=torch.float32)
    assert stack.weights.values.dtype == torch.float32
    double, _ = trained(problem, [own, member("nothing")])
    found, expected = state_of(*stack.final(), 0), state_of(*double.final(), 0)
    assert max(float((found[n].double() - expected[n]).abs().max()) for n in found) < 1e-4


def test_members_of_one_stack_share_their_structure() -> None:
    with pytest.raises(WellfitError, match="one structure"):
        new_stack(PROBLEMS["classification"], [member("norm"), member("nothing")])


def test_early_stopping_cases_really_stop() -> None:
    """Otherwise the cases above would say nothing about stopping."""
    chosen, stack, _ = together("classification", False)
    stopped = {n for k, n in enumerate(chosen) if stack.stopped[k]}
    assert {"patience", "patience 2", "ema and patience"} <= stopped
    assert "nothing" not in stopped

"""What makes a step fit to be recorded: asked for once and played again and again, it is every other step too.

The tests of ``tests/population`` hold this tier, computed step by step, equal to networks trained alone. Here its step is recorded
as a graphics card would record it, by the operations alone, which would keep whatever number the host had put in.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import wellfit as wf
from population.solo import CASES, PROBLEMS, classification, member
from wellfit.core.registry import registered
from wellfit.population.cuda.stack import CudaStack
from wellfit.population.problem import Member, Problem
from wellfit.population.reference import ReferenceStack
from wellfit.population.tiers import describe_tiers, tier_of
from wellfit.population.train import StackRun, Wants, stack_size
from wellfit.regularizers.inputs import features
from wellfit.regularizers.weights import groups

EXACT = 1e-12


class _Recorded(CudaStack):
    """Records the second step of its life, and plays it from then on."""

    played = 0
    operations: Any = None

    def _bind(self) -> None:
        super()._bind()
        self.played, self.operations = 0, None

    def _play(self) -> None:
        self.played += 1
        if self.played == 1:
            self._whole_step()
        elif self.operations is None:
            def step() -> None:
                self._whole_step()

            self.operations = make_fx(step)()
        else:
            with torch.no_grad():
                self.operations()


def differences(a: Any, b: Any) -> float:
    pairs = [(a.weights, b.weights), (a.first, b.first), (a.second, b.second), (a.statistics, b.statistics)]
    pairs += [(a.averages, b.averages)] if a.averages is not None else []
    return max(float((x.values - y.values).abs().max()) for x, y in pairs if x.values.numel())


def after(kind: Callable[..., Any], problem: Problem, members: list[Member], epochs: int) -> Any:
    stack = kind(problem, members, dtype=torch.float64)
    for _ in range(epochs):
        stack.run_epoch()
    return stack


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_step_is_every_step(name: str) -> None:
    members = [member(name), Member(member(name).recipe, 0.02, seed=77, fold=1)]
    expected, found = (after(kind, classification(), members, 2) for kind in (ReferenceStack, _Recorded))
    assert found.played == 2 * classification().steps_per_epoch > 3
    # biases before a norm have gradients of rounding noise alone, which Adam makes large
    assert differences(expected, found) < (1e-7 if "batch_norm" in members[0].recipe else EXACT)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_all_cases_in_one_record_and_after_some_have_left(problem: str) -> None:
    members = [member(n) for n in CASES if "batch_norm" not in member(n).recipe]
    stacks = [kind(PROBLEMS[problem], members, dtype=torch.float64) for kind in (ReferenceStack, _Recorded)]
    for stack in stacks:
        stack.run_epoch()
        stack.keep(range(0, len(members), 3))
        stack.run_epoch()
    assert stacks[1].played == PROBLEMS[problem].steps_per_epoch  # recorded anew for those who stayed
    assert differences(*stacks) < EXACT


def operations(stack: Any) -> set[str]:
    return {str(node.target) for node in stack.operations.graph.nodes}


FROM_THE_HOST = ("lift", "_local_scalar", "nonzero", "masked_select")
WAITS = ("svd", "eigh", "linalg_solve")


def test_nothing_in_a_record_comes_from_the_host() -> None:
    """Copies from main memory, and questions to the device, would be refused where steps are recorded for good."""
    asked = operations(after(_Recorded, classification(), [member("everything with skips"), member("group mcp units")], 1))
    assert len(asked) > 50
    assert not {n for n in asked if any(w in n for w in (*FROM_THE_HOST, *WAITS))}


USUAL: dict[str, dict[str, Any]] = {"weight_decay": {"rate": 0.1}}
NEEDS: dict[str, tuple[Any, ...]] = {"stochastic_depth": (wf.SkipConnections(),)}


STACKED = [n for n, kind in sorted(registered().items()) if kind.stacked and kind.takes in ("anything", "rows")]


@pytest.mark.parametrize("name", STACKED)
def test_every_part_that_is_stacked_can_be_recorded_or_says_that_it_cannot(name: str) -> None:
    """Also those that a search does not offer."""
    kind = registered()[name]
    recipe = wf.Recipe(kind(**USUAL.get(name, {})), *NEEDS.get(name, ()))
    other = wf.Recipe(*[p for p in recipe if p.name == "batch_norm"])
    asked = operations(after(_Recorded, classification(), [Member(recipe, 0.01, seed=1), Member(other, 0.01, seed=2)], 1))
    assert not {n for n in asked if any(w in n for w in FROM_THE_HOST)}
    assert kind.recordable == (not {n for n in asked if any(w in n for w in WAITS)})
    assert tier_of(classification(device="cuda"), Member(recipe, 0.01)) == ("cuda" if kind.recordable else "reference")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_everything_a_step_touches_is_on_its_device(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device that has no memory whatever comes from another one is an error. Asked once, before a step is recorded: how many
    groups there are, and mixup's alpha."""
    for module in (features, groups):
        monkeypatch.setattr(module, "group_count", lambda numbers: 4)
    monkeypatch.setattr(CudaStack, "larger_shares", lambda self, name, run, alpha: torch.empty_like(alpha, dtype=torch.float64))
    problem = classification(device="meta", optimizer=optimizer)
    for norm in (False, True):
        stack = CudaStack(problem, [member(n) for n in CASES if ("batch_norm" in member(n).recipe) == norm])
        for _ in range(2):
            stack._train_epoch()
            for slot in stack._slots("average"):
                if slot.part.cadence == "epoch":
                    stack._average(slot)
            weights, statistics = stack._judge()
            assert stack.outputs(problem.folds[0].validation, [0, 1], weights, statistics).shape == (2, 40, 3)
            stack.keep(range(len(stack.members) - 2))
        assert stack.step == 2 * problem.steps_per_epoch


def test_one_average_leaves_the_others_alone() -> None:
    """EMA and SWA in turns: each slot is applied to all, and takes in nothing where a member has the other."""
    members = [Member(wf.Recipe(wf.EMA(0.8) if k % 2 else wf.SWA(0.3)), 0.02, seed=k) for k in range(8)]
    expected, found = (after(kind, classification(), members, 4) for kind in (ReferenceStack, CudaStack))
    assert {len(s.runs) for s in found.slots} == {1}
    assert differences(expected, found) < EXACT
    assert not torch.equal(found.averages.values, found.weights.values)


def test_members_that_have_ended_ride_along_until_they_are_many() -> None:
    """A record is made anew when a member leaves. Whoever has ended changes nothing any more, and is counted no longer."""
    members = {k: Member(wf.Recipe(wf.EarlyStopping(patience=1 + k % 5)), 0.05, seed=k, fold=k % 2) for k in range(20)}
    problem, runs = classification(epochs=12), []
    for tier in ("reference", "cuda"):
        run = StackRun(problem, members, Wants(weights=True), tier=tier)
        assert run.advance(12, None, lambda alive, epoch: None)
        runs.append(run)
    lengths = {len(r.history["train_loss"]) for r in runs[0].records.values()}
    assert len(lengths) > 2  # they did end at different times
    for k, expected in runs[0].records.items():
        found = runs[1].records[k]
        assert expected.ended and found.ended and expected.best_epoch == found.best_epoch
        assert np.allclose(expected.history["validation_loss"], found.history["validation_loss"], atol=1e-4)
        assert np.allclose(expected.outputs, found.outputs, atol=1e-4) and expected.trail.shape == found.trail.shape
        assert all(np.allclose(w, found.weights[n], atol=1e-4) for n, w in expected.weights.items())
    assert runs[0].member_epochs == runs[1].member_epochs


def test_a_stack_that_is_let_go_frees_its_memory() -> None:
    stack = CudaStack(classification(), [member("l1")])
    gone = weakref.ref(stack)
    del stack
    assert gone() is None


def test_a_rare_part_is_applied_to_all_with_neutral_values() -> None:
    """Members k, k+2, ... have the part: one call for all of them, which changes nothing in the others."""
    members = [Member(wf.Recipe(wf.GroupLasso(3e-2), wf.EMA(0.8)) if k % 2 else wf.Recipe(), 0.02, seed=k) for k in range(8)]
    expected, found = (after(kind, classification(), members, 2) for kind in (ReferenceStack, CudaStack))
    assert [s.runs for s in found.slots if s.part.name == "group_lasso"] == [[slice(0, 8)]]
    assert differences(expected, found) < EXACT
    without = after(CudaStack, classification(), members[::2], 2)
    assert not without.slots
    assert float((found.weights.values[::2] - without.weights.values).abs().max()) < EXACT


def test_checkpoints_go_from_one_tier_to_the_other() -> None:
    members = [member("everything"), member("ema")]
    first = after(ReferenceStack, classification(), members, 2)
    second = CudaStack(classification(), members, dtype=torch.float64)
    second.load_state(first.state())
    for stack in (first, second):
        stack.run_epoch()
    assert differences(first, second) < EXACT


def test_the_tier_is_chosen_by_the_device() -> None:
    card = classification(device="cuda")
    assert tier_of(card, member("l1")) == "cuda"
    assert tier_of(classification(device="cuda", engine="reference"), member("l1")) == "reference"
    assert describe_tiers("auto", "cuda:1")["tier"] == "cuda"
    assert describe_tiers("reference", "cuda")["tier"] == "reference"
    assert stack_size(card, tier="cuda") == 1024


def test_the_problem_knows_where_it_is() -> None:
    here = classification()
    assert here.there is here
    there = classification(device="meta").there
    assert {t.device.type for t in (there.inputs, there.targets, there.feature_groups, there.folds[1].validation,
                                    there.objective.class_weights)} == {"meta"}
    assert np.isclose(here.objective.class_weights.mean(), 1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")
@pytest.mark.parametrize("name", ["nothing", "everything with skips", "norm and everything", "group mcp units", "swa"])
def test_on_a_card(name: str) -> None:
    members = [member(name), Member(member(name).recipe, 0.02, seed=77, fold=1)]
    expected = after(ReferenceStack, classification(), members, 3)
    found = after(CudaStack, classification(device="cuda"), members, 3)
    for a, b in ((expected.weights, found.weights), (expected.statistics, found.statistics)):
        assert torch.allclose(a.values, b.values.cpu(), atol=1e-7 if "norm" in name else 1e-9)

"""The update in one pass, through Triton's interpreter, against tensors. Run by ``test_kernel.py`` in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import wellfit as wf
from population.solo import CASES, PROBLEMS, classification, member
from wellfit.population.cuda.fused import FusedUpdate
from wellfit.population.cuda.stack import CudaStack
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Member, Problem
from wellfit.population.reference import ReferenceStack

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # where() computes what it does not choose


def update(stack: CudaStack) -> FusedUpdate:
    assert stack._update_in_one is not None
    return stack._update_in_one


def gap_after(problem: Problem, members: list[Member], *, epochs: int = 2, dtype: torch.dtype = torch.float64) -> tuple[float, Any]:
    stacks: list[Any] = [kind(problem, members, dtype=dtype) for kind in (ReferenceStack, CudaStack)]
    for stack in stacks:
        for _ in range(epochs):
            stack.run_epoch(evaluate=False)
    a, b = stacks
    assert ((a.weights.values == 0) == (b.weights.values == 0)).all()  # the same exact zeros
    pairs = [(a.weights, b.weights), (a.first, b.first), (a.second, b.second)]
    pairs += [(a.averages, b.averages)] if a.averages is not None else []
    return max(float((x.values - y.values).abs().max()) for x, y in pairs), b


KNOWN = ["nothing", "l1", "l1 first", "l1 all", "decay", "decay unscaled", "timescale", "timescale schedule", "elastic net",
         "elastic net hidden", "max norm", "max norm all", "ema", "ema 0.5", "swa", "norm and max norm"]


@pytest.mark.parametrize("name", KNOWN)
def test_it_is_the_step_of_tensors(name: str) -> None:
    members = [member(name), Member(member(name).recipe, 0.02, seed=77, fold=1)]
    gap, stack = gap_after(PROBLEMS["classification"], members)
    assert gap < (1e-7 if "norm and" in name else 1e-12)
    assert not update(stack).left


def test_members_with_different_parts_in_one_pass() -> None:
    members = [
        Member(wf.Recipe(wf.L1(1e-2), wf.WeightDecay(rate=0.5), wf.MaxNorm(0.5), wf.EMA(0.9)), 0.03, seed=1),
        Member(wf.Recipe(wf.ElasticNet(1e-2, l1_ratio=0.3), wf.WeightDecay(timescale=3.0), wf.EMA(0.3)), 0.02, seed=2, fold=1),
        Member(wf.Recipe(wf.MaxNorm(0.3, select="all"), wf.Dropout(0.3), wf.Mixup(0.4), wf.SWA(0.3)), 0.03, seed=3),
        Member(wf.Recipe(), 0.05, seed=4)]
    gap, stack = gap_after(classification(), members)
    assert gap < 1e-12
    assert update(stack).averages and not update(stack).left
    assert int((stack.weights.values[:2] == 0).sum()) > 100 and not (stack.weights.values[2:] == 0).any()
    gap, _ = gap_after(classification(), members, dtype=torch.float32)
    assert gap < 1e-5


def test_what_it_does_not_know_comes_after_it_in_order() -> None:
    """A group lasso stands between the thresholds and the ball: both are left to tensors, and so is the average."""
    members = [Member(wf.Recipe(wf.L1(1e-3), wf.GroupLasso(2e-2), wf.MaxNorm(0.4), wf.EMA(0.9)), 0.03, seed=k) for k in range(2)]
    gap, stack = gap_after(classification(), members)
    assert gap < 1e-12
    assert [s.part.name for s in update(stack).left] == ["group_lasso", "max_norm"] and not update(stack).averages


def test_units_of_any_length() -> None:
    """Rows that fill no power of two, tiles that are cut, and single numbers."""
    x = torch.randn(64, 300, dtype=torch.float64)
    problem = classification(network=NetworkSpec(300, (37, 5), 3), inputs=x, targets=torch.arange(64) % 3, feature_groups=None,
                             folds=(Fold(torch.arange(48), torch.arange(48, 64)),))
    gap, stack = gap_after(problem, [Member(wf.Recipe(wf.MaxNorm(0.3), wf.L1(1e-3)), 0.01, seed=1)], epochs=1)
    assert gap < 1e-12
    assert sorted((launch.columns, launch.rows) for launch in update(stack)._launches) == [(1, 1024), (8, 128), (64, 16), (512, 2)]
    norms = stack.weights.views["layers.0.weight"].norm(dim=-1)
    assert float(norms.max()) <= 0.3 * (1 + 1e-12) and float(norms.min()) > 0


def test_where_it_is_not_for() -> None:
    def of(problem: Problem, *parts: Any) -> Any:
        return CudaStack(problem, [Member(wf.Recipe(*parts), 0.01)])._update_in_one

    assert of(classification()) is not None
    assert of(classification(optimizer="sgd")) is None
    assert of(classification((9000, 4))) is None
    assert all(of(PROBLEMS["classification"], *CASES[n]) is not None for n in KNOWN)

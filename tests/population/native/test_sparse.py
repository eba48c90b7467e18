"""Products that leave zeros out (csrc/sparse.h): the reference tier's numbers in every build, and zeros really left out."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import wellfit as wf
from population.native.test_equality import agree, build_of, builds, in_single_precision, of_shape
from wellfit.core.regularizer import Regularizer
from wellfit.population.native import library
from wellfit.population.problem import Member, Problem
from wellfit.population.tiers import TIERS

pytestmark = pytest.mark.skipif(library.engine() is None, reason=library.why_not() or "there is a native engine")

HALF = (wf.Dropout(0.5),)
MIXED = (wf.Dropout(wf.Linear(0.0, 0.6)), wf.SkipConnections(), wf.MaxNorm(1.0), wf.L1(1e-4))
NORMED = (wf.BatchNorm(), wf.Dropout(0.4))

#: Hidden widths with whole panels, a last narrow one, a last single vector, padding, in vectors of 2 to 16 numbers; sums of one
#: block of lists, of several, and of a last short one.
WIDTHS = [(24, 24), (100, 100), (64, 33, 65), (136, 200), (97,)]


@pytest.fixture(params=builds())
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    own = build_of(request.param)
    monkeypatch.setattr(library, "engine", lambda: own)
    return str(request.param)


def with_zeros(problem: Problem, share: float) -> Problem:
    """Inputs of which a share is zero, as those of categories are."""
    kept = torch.rand(problem.inputs.shape, generator=torch.Generator().manual_seed(1)) >= share
    return dataclasses.replace(problem, inputs=problem.inputs * kept)


@pytest.mark.parametrize("parts", [HALF, MIXED, NORMED, ()], ids=["half", "mixed", "normed", "nothing"])
@pytest.mark.parametrize("hidden", WIDTHS, ids=str)
def test_the_same_numbers(hidden: tuple[int, ...], parts: tuple[Regularizer, ...], build: str) -> None:
    problem = of_shape(9, hidden, 3, "relu", rows=45, batch=15)
    agree(problem, [Member(wf.Recipe(*parts), 0.01, seed=seed) for seed in range(2)])


@pytest.mark.parametrize("batch", [1, 3, 8, 17, 63, 64, 65, 130, 200])
def test_any_batch(batch: int, build: str) -> None:
    """Around the blocks in which columns are listed: 48, 64 or 128 rows."""
    agree(of_shape(7, (48, 52), 2, "relu", rows=260, batch=batch, epochs=1), [Member(wf.Recipe(*HALF), 0.01, seed=1)])


@pytest.mark.parametrize("inputs", [1, 5, 47, 64, 129, 300])
def test_inputs_with_zeros(inputs: int, build: str) -> None:
    problem = with_zeros(of_shape(inputs, (104, 30), 3, "gelu", rows=90, batch=30), 0.8)
    agree(problem, [Member(wf.Recipe(), 0.01, seed=1), Member(wf.Recipe(*HALF), 0.01, seed=2)])


@pytest.mark.parametrize("hidden", [(100, 100), (136, 208, 97), (64, 64)], ids=str)
def test_single_precision_stays_close(hidden: tuple[int, ...], build: str) -> None:
    """Lists are made by other instructions there. Under SGD: Adam blows up the rounding noise of units that hardly live."""
    problem = with_zeros(of_shape(70, hidden, 3, "relu", rows=140, batch=70, optimizer="sgd"), 0.6)
    assert in_single_precision(problem, (wf.Dropout(0.5), wf.EMA(0.9))) < 1e-4


def outputs(problem: Problem, dtype: torch.dtype, member: Member) -> torch.Tensor:
    """Of the first rows, after the weights of the last input have become no numbers."""
    stack = TIERS["native"](problem, [member], dtype=dtype)
    stack.weights.views["layers.0.weight"][..., -1] = float("nan")
    return stack.outputs(torch.arange(12), [0], stack.weights, stack.statistics)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("share", [0.9, 0.0])
def test_zeros_are_left_out_where_there_are_many(share: float, dtype: torch.dtype, build: str) -> None:
    """A weight that meets nothing but zeros is not even read, unless there are too few zeros for lists to pay."""
    problem = with_zeros(of_shape(20, (200,), 3, "relu"), share)
    inputs = problem.inputs.clone()
    inputs[:, -1] = 0
    found = outputs(dataclasses.replace(problem, inputs=inputs), dtype, Member(wf.Recipe(), 0.01, seed=1))
    assert bool(found.isfinite().all()) == (share > 0)
    assert bool(found.isnan().all()) == (share == 0)

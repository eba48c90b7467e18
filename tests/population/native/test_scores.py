"""Losses and errors that the engine takes from its own outputs (csrc/judge.h): those of ``problem.Objective``, in every build."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import wellfit as wf
from population.native.test_equality import build_of, builds
from wellfit.population.native import library
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.population.stack import Stack
from wellfit.population.tiers import TIERS

pytestmark = pytest.mark.skipif(library.engine() is None, reason=library.why_not() or "there is a native engine")

CLASSIFICATION, REGRESSION = ("balanced_accuracy", "accuracy", "log_loss"), ("rmse", "r2")
ROWS = 150  # more than two rounds of the evaluation
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


@pytest.fixture(params=builds())
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    own = build_of(request.param)
    monkeypatch.setattr(library, "engine", lambda: own)
    return str(request.param)


def problem_of(metric: str, classes: int = 3, weighted: bool = False) -> Problem:
    draw = torch.Generator().manual_seed(3)
    inputs = torch.randn(ROWS + 20, 5, generator=draw)
    labels = torch.randint(0, classes, (ROWS + 20,), generator=draw)
    folds = (Fold(torch.arange(ROWS, ROWS + 20), torch.randperm(ROWS, generator=draw)),)
    if metric in REGRESSION:
        return Problem(NetworkSpec(5, (7,), 1, "relu"), inputs, inputs.sum(1) + 4, folds, Objective("regression", metric), 1, 4)
    weights = torch.linspace(0.4, 1.7, classes) if weighted else None
    return Problem(NetworkSpec(5, (7,), classes, "relu"), inputs, labels, folds, Objective("multiclass", metric, weights), 1, 4)


def stack_of(problem: Problem, dtype: torch.dtype, scales: tuple[float, ...] = (1.0, 40.0)) -> Stack:
    """Networks with weights of several sizes: of some the loss is far from that of chance."""
    stack = TIERS["native"](problem, [Member(wf.Recipe(), 1e-3, seed=k) for k in range(len(scales))], dtype=dtype)
    for k, scale in enumerate(scales):
        stack.weights.values[k] *= scale
    return stack


def scored(stack: Stack, rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(2, K) losses and errors by the engine, and by the definition from its outputs."""
    everyone, flats = range(len(stack.members)), (stack.weights, stack.statistics)
    found, expected = stack.scores(rows, everyone, *flats, []), Stack.scores(stack, rows, everyone, *flats, [])
    return np.stack(found[:2]), np.stack(expected[:2])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("metric", [*CLASSIFICATION, *REGRESSION])
def test_every_metric_is_that_of_the_objective(build: str, metric: str, dtype: torch.dtype) -> None:
    for classes, weighted in ((2, False), (3, True), (11, True)) if metric in CLASSIFICATION else ((1, False),):
        problem = problem_of(metric, classes, weighted)
        found, expected = scored(stack_of(problem, dtype), problem.folds[0].validation)
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype])
        assert (found[:, 0] != found[:, 1]).all(), "nothing would be compared if both networks were alike"


def test_classes_without_rows_do_not_count() -> None:
    problem = problem_of("balanced_accuracy", 4, weighted=True)
    rows = torch.nonzero(problem.targets != 2).flatten()[:90]
    found, expected = scored(stack_of(problem, torch.float64), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_of_equal_outputs_the_first_counts() -> None:
    problem = problem_of("accuracy")
    found, expected = scored(stack_of(problem, torch.float32, (0.0,)), problem.folds[0].validation)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found[0], math.log(3), rtol=1e-6)


@pytest.mark.parametrize("metric", [*CLASSIFICATION, *REGRESSION])
def test_a_network_that_diverged_has_no_loss_and_spoils_no_other(metric: str) -> None:
    problem = problem_of(metric)
    stack = stack_of(problem, torch.float32, (1.0, 1.0, 1.0))
    alone, _ = scored(stack, problem.folds[0].validation)
    stack.weights.values[1] = math.nan
    found, expected = scored(stack, problem.folds[0].validation)
    assert math.isnan(found[0, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(found[:, [0, 2]], alone[:, [0, 2]])


def test_outputs_are_kept_of_those_asked_for() -> None:
    problem = problem_of("log_loss")
    stack, rows = stack_of(problem, torch.float32, (1.0, 2.0, 3.0)), problem.folds[0].validation
    *_, kept = stack.scores(rows, [2, 0, 1], stack.weights, stack.statistics, [0, 2])
    outputs = stack.outputs(rows, [2, 1], stack.weights, stack.statistics).numpy()
    np.testing.assert_array_equal(np.stack(kept), outputs)


def test_a_single_row_has_scores() -> None:
    problem = problem_of("rmse")
    found, expected = scored(stack_of(problem, torch.float64), torch.tensor([5]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)

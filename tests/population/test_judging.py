"""What a stack measures: scikit-learn's metrics of MLP's outputs, with the weights and statistics that count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics

import wellfit as wf
from population.solo import (
    CASES,
    COLUMNS,
    FOLDS,
    INPUTS,
    LABELS,
    NUMBERS,
    PROBLEMS,
    alone_by_name,
    classification,
    gap,
    member,
    new_stack,
    regression,
    state_of,
    statistic_name,
    trained,
)
from wellfit.core import surgery
from wellfit.population.network import MLP, NetworkSpec
from wellfit.population.problem import Member, Objective, Problem

pytestmark = pytest.mark.usefixtures("tier")

NAMES = ["nothing", "l1", "dropout", "skip", "ema", "everything with skips"]
NORMED = ["norm", "norm and ema", "norm and everything"]


def module(problem: Problem, name: str, state: dict[str, torch.Tensor]) -> MLP:
    """A module in evaluation mode with these weights."""
    spec = problem.network
    model = MLP(spec.inputs, spec.hidden, spec.outputs, spec.activation, dtype=torch.float64)
    if "batch_norm" in member(name).recipe:
        surgery.add_batch_norm(model)
    if "skip_connections" in member(name).recipe:
        surgery.add_skip_connections(model)
    model.load_state_dict(state, strict=False)
    return model.eval()


@pytest.mark.parametrize("chosen", [NAMES, NORMED], ids=["plain", "normed"])
def test_outputs_are_those_of_the_module(chosen: list[str]) -> None:
    problem = PROBLEMS["classification"]
    stack, _ = trained(problem, [member(n) for n in chosen], 2)
    weights, statistics = stack.final()
    rows = torch.tensor([5, 3, 100, 7])
    found = stack.outputs(rows, range(len(chosen)), weights, statistics)
    some = stack.outputs(rows, [len(chosen) - 1, 0], weights, statistics)
    for k, name in enumerate(chosen):
        expected = module(problem, name, state_of(weights, statistics, k))(INPUTS[rows])
        assert torch.allclose(found[k], expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(some, found[[len(chosen) - 1, 0]], rtol=1e-13)


SCORES: dict[str, Any] = {
    "balanced_accuracy": lambda y, p: 1 - metrics.balanced_accuracy_score(y, p.argmax(1)),
    "accuracy": lambda y, p: 1 - metrics.accuracy_score(y, p.argmax(1)),
    "log_loss": lambda y, p: metrics.log_loss(y, p, labels=[0, 1, 2]),
}


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("weighted", [False, True])
def test_classification_errors_are_scikit_learns(metric: str, weighted: bool) -> None:
    weights = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64) if weighted else None
    problem = classification(objective=Objective("multiclass", metric, weights))
    stack, history = trained(problem, [member(n) for n in NAMES], 2)
    judged, statistics = stack.judged()
    for k, name in enumerate(NAMES):
        fold = FOLDS[member(name).fold]
        for part, rows in (("train", problem.probe(member(name).fold)), ("validation", fold.validation)):
            logits = stack.outputs(rows, [k], judged, statistics)[0]
            probabilities, labels = torch.softmax(logits, -1).numpy(), LABELS[rows].numpy()
            assert history[-1][f"{part}_error"][k] == pytest.approx(SCORES[metric](labels, probabilities), abs=1e-12)
            expected = metrics.log_loss(labels, probabilities, labels=[0, 1, 2]) if weights is None else float(
                (-np.log(probabilities[np.arange(len(labels)), labels]) * weights.numpy()[labels]).mean())
            assert history[-1][f"{part}_loss"][k] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_regression_errors_are_scikit_learns(metric: str) -> None:
    problem = replace(regression(), objective=Objective("regression", metric))
    stack, history = trained(problem, [member("nothing"), member("mixup")], 2)
    judged, statistics = stack.judged()
    for k, name in enumerate(("nothing", "mixup")):
        rows = FOLDS[member(name).fold].validation
        outputs, targets = stack.outputs(rows, [k], judged, statistics)[0, :, 0].numpy(), NUMBERS[rows].numpy()
        square = metrics.mean_squared_error(targets, outputs)
        error = float(np.sqrt(square)) if metric == "rmse" else 1 - metrics.r2_score(targets, outputs)
        assert history[-1]["validation_error"][k] == pytest.approx(error, rel=1e-10)
        assert history[-1]["validation_loss"][k] == pytest.approx(square, rel=1e-10)


def test_balanced_accuracy_counts_only_classes_that_are_there() -> None:
    objective = Objective("multiclass", "balanced_accuracy")
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(4, 30, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 2, 2, 4] * 5)
    found = objective.error(outputs, labels)
    assert found.shape == (4,)
    for k in range(4):
        with np.errstate(all="ignore"):
            recalls = [float((outputs[k].argmax(1)[labels == c] == c).double().mean()) for c in (0, 2, 4)]
        assert float(found[k]) == pytest.approx(1 - np.mean(recalls))


def test_no_validation_rows_give_no_number() -> None:
    from wellfit.population.problem import Fold

    problem = classification(folds=(Fold(torch.arange(120), torch.arange(0)),))
    _, history = trained(problem, [member("nothing")], 1)
    assert np.isnan(history[0]["validation_loss"]).all()
    assert np.isfinite(history[0]["train_loss"]).all()


def test_metrics_are_clean() -> None:
    """Measuring uses evaluation mode: no dropout, no noise, no penalty; and changes nothing."""
    stack, _ = trained(PROBLEMS["classification"], [member("everything"), member("dropout")], 1)
    first, weights = stack.measure(), stack.weights.values.clone()
    for name, values in stack.measure().items():
        assert np.array_equal(values, first[name])
    assert torch.equal(stack.weights.values, weights)


def test_evaluation_may_be_left_out() -> None:
    stack = new_stack(PROBLEMS["classification"], [member("l1")], dtype=torch.float64)
    assert stack.run_epoch(evaluate=False) == {}
    measured, _ = trained(PROBLEMS["classification"], [member("l1")], 1)
    assert torch.equal(stack.weights.values, measured.weights.values)


# --------------------------------------------------------------------------------------------------- averages, norms


def test_averaged_weights_are_judged_with_statistics_of_their_own() -> None:
    problem = PROBLEMS["classification"]
    stack, _ = trained(problem, [member("norm"), member("norm and ema")], 3)
    weights, statistics = (flat.views for flat in stack.judged())
    for name in stack.shapes:
        assert torch.equal(weights[name][0], stack.weights.views[name][0]), "a member without an average is judged as it is"
        assert not torch.equal(weights[name][1], stack.weights.views[name][1])
    for name, view in stack.statistics.views.items():
        assert torch.equal(statistics[name][0], view[0])
    state = {n: weights[n][1] for n in stack.shapes}
    model = module(problem, "norm and ema", state)
    surgery.recalibrate(model, [INPUTS[problem.probe(member("norm and ema").fold)]])
    for name in stack.statistics.shapes:
        assert torch.allclose(statistics[name][1], model.state_dict()[statistic_name(name)], rtol=1e-10)


@pytest.mark.parametrize("name", ["norm and ema", "norm, swa and patience"])
def test_every_epoch_is_judged_as_alone(name: str) -> None:
    problem = PROBLEMS["classification"]
    stack = new_stack(problem, [member(name), member("norm")], dtype=torch.float64)
    for expected in alone_by_name("classification", name).judged:
        stack.run_epoch()
        weights, statistics = (flat.views for flat in stack.judged())
        found = {n: weights[n][0] for n in stack.shapes}
        found |= {statistic_name(n): statistics[n][0] for n in stack.statistics.shapes}
        assert gap(found, expected) <= 1e-8


def test_the_clean_training_loss_uses_rows_spread_over_the_fold() -> None:
    problem = classification(probe_rows=10)
    rows = problem.probe(1)
    assert len(rows) == 10
    assert rows[0] == FOLDS[1].train[0]
    assert rows[-1] == FOLDS[1].train[-1]
    assert set(rows.tolist()) <= set(FOLDS[1].train.tolist())
    assert len(classification().probe(0)) == 80


def test_every_case_is_of_some_structure() -> None:
    assert len(CASES) >= 40
    assert NetworkSpec(COLUMNS, (8, 8, 8), 3).depth == 4
    assert isinstance(wf.Recipe(*CASES["everything"]), wf.Recipe)


def test_averages_keep_the_zeros_that_a_proximal_part_made() -> None:
    """An average of weights that once were not zero never is zero by itself; what is judged and returned must be."""
    task = classification()
    recipe = wf.Recipe(wf.L1(0.05), wf.EMA(0.9))
    stack = new_stack(task, [Member(recipe, 0.01, seed=k) for k in range(2)] + [Member(wf.Recipe(wf.L1(0.05)), 0.01)],
                  dtype=torch.float64)
    for _ in range(task.epochs):
        stack.run_epoch()
    size = task.network.matrix_size
    zeros = stack.weights.values[:, :size] == 0
    assert zeros[:2].any()
    weights, _ = stack.final()
    assert torch.equal(weights.values[:, :size] == 0, zeros)
    assert stack.averages is not None
    assert (stack.averages.values[:2, :size][zeros[:2]] != 0).any()

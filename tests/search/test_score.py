"""Scores against scikit-learn's, and intervals that cover what they should."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from wellfit.search.score import HIGHER_IS_BETTER, METRICS, Scorer, interval, softmax, standard_error


def scores_of_sklearn(metric: str, y: np.ndarray, predictions: np.ndarray) -> float:
    if metric == "rmse":
        return float(metrics.root_mean_squared_error(y, predictions[:, 0]))
    if metric == "r2":
        return float(metrics.r2_score(y, predictions[:, 0]))
    if metric == "log_loss":
        return float(metrics.log_loss(y, predictions, labels=range(predictions.shape[1])))
    function = metrics.balanced_accuracy_score if metric == "balanced_accuracy" else metrics.accuracy_score
    return float(function(y, predictions.argmax(axis=1)))


def example(metric: str, n: int = 120, seed: int = 0) -> tuple[Scorer, np.ndarray]:
    rng = np.random.default_rng(seed)
    if metric in METRICS["regression"]:
        y = rng.normal(5, 2, n)
        return Scorer(metric, y), (y + rng.normal(size=n)).reshape(-1, 1)
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    outputs = rng.normal(size=(n, 3))
    outputs[np.arange(n), y] += 1
    return Scorer(metric, y, 3), softmax(outputs)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_scores_are_those_of_scikit_learn(metric: str) -> None:
    scorer, predictions = example(metric)
    score = scorer.score(scorer.error(scorer.rows(predictions)))
    assert score == pytest.approx(scores_of_sklearn(metric, scorer.y, predictions), rel=1e-6)
    assert scorer.higher_is_better == HIGHER_IS_BETTER[metric]


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_a_smaller_error_is_a_better_score(metric: str) -> None:
    scorer, predictions = example(metric)
    worse = np.roll(predictions, 1, axis=0)
    errors = [scorer.error(scorer.rows(p)) for p in (predictions, worse)]
    assert errors[0] < errors[1]
    assert (scorer.score(errors[0]) > scorer.score(errors[1])) == scorer.higher_is_better
    assert scorer.gain(errors[1], errors[0]) > 0


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_weights_count_rows(metric: str) -> None:
    """An error under counts is the error of the rows repeated so often."""
    scorer, predictions = example(metric)
    counts = scorer.resamples(5, seed=1)
    rows = scorer.rows(predictions)
    errors = scorer.errors(np.stack([rows, rows[::-1]]), counts)
    assert errors.shape == (5, 2)
    for draw, error in zip(counts, errors[:, 0], strict=True):
        repeated = np.repeat(np.arange(len(rows)), draw.astype(int))
        again = Scorer(metric, scorer.y[repeated], scorer.classes)
        assert error == pytest.approx(again.error(again.rows(predictions[repeated])), rel=1e-5)


def test_resamples_keep_every_class() -> None:
    scorer = Scorer("balanced_accuracy", np.array([0] * 40 + [1] * 2 + [2] * 9), 3)
    counts = scorer.resamples(200, seed=0)
    for c in range(3):
        assert (counts[:, scorer.y == c].sum(axis=1) == (scorer.y == c).sum()).all()
    assert np.array_equal(counts, scorer.resamples(200, seed=0))
    assert not np.array_equal(counts, scorer.resamples(200, seed=1))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "rmse"])
def test_the_bootstrap_finds_the_standard_error(metric: str) -> None:
    """Against the scatter of the error over fresh samples of the same size."""
    errors, estimates = [], []
    for seed in range(60):
        scorer, predictions = example(metric, n=200, seed=seed)
        rows = scorer.rows(predictions)
        errors.append(scorer.error(rows))
        estimates.append(standard_error(scorer, rows, scorer.resamples(200, seed)))
    assert np.mean(estimates) == pytest.approx(np.std(errors), rel=0.25)


def test_an_interval_is_centred_and_widened() -> None:
    draws = np.random.default_rng(0).normal(3.0, 0.5, 4000)
    low, high = interval(1.0, draws)
    assert (low + high) / 2 == pytest.approx(1.0)
    assert high - low == pytest.approx(2 * 1.96 * 0.5, rel=0.05)
    wide = interval(1.0, draws, 0.75)
    assert wide[1] - wide[0] == pytest.approx(2 * 1.96 * 1.0, rel=0.05)


def test_merit_breaks_ties_of_accuracy_by_confidence() -> None:
    y = np.array([0, 1] * 20)
    scorer = Scorer("accuracy", y, 2)
    sharp, shy = (np.where(np.eye(2)[y] > 0, p, 1 - p) for p in (0.9, 0.6))
    flipped = sharp.copy()
    flipped[:4] = flipped[:4, ::-1]
    shy_flipped = shy.copy()
    shy_flipped[:4] = sharp[:4, ::-1]
    assert scorer.merit(sharp) < scorer.merit(flipped)
    assert scorer.merit(flipped) < scorer.merit(shy_flipped)

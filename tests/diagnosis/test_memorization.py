"""Memorization on made curves and on networks that learn by heart."""

from __future__ import annotations

import numpy as np
import pytest

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.memorization import by_heart, cumulative_loss, forgetting, memorization

EPOCHS = np.arange(40)


def test_the_score_runs_from_nothing_to_all() -> None:
    real = np.exp(-EPOCHS / 5)
    level = np.full(40, 1.0)
    assert memorization(real, level, 1.0).score.value == 0
    assert memorization(real, real, 1.0).score.value == 1
    slow, fast = (memorization(real, np.exp(-EPOCHS / t), 1.0) for t in (40, 8))
    assert 0 < slow.score.value < fast.score.value < 1
    assert np.isnan(slow.score.low)
    assert memorization(level, real, 1.0).score.value == 1  # nothing real, all by heart
    assert memorization(level, level, 1.0).score.value == 0


def test_seeds_give_an_interval() -> None:
    rng = np.random.default_rng(0)
    real = np.exp(-EPOCHS / 5)[None].repeat(4, 0)
    shuffled = np.exp(-EPOCHS / 30) * np.exp(0.05 * rng.normal(size=(4, 1)))
    found = memorization(real, shuffled, 1.0)
    assert 0 < found.score.low < found.score.value < found.score.high < 1
    assert found.final.value == pytest.approx(float(((1 - shuffled)[:, -1] / (1 - real)[:, -1]).mean()))


def test_a_diverged_curve_has_fitted_nothing() -> None:
    assert memorization(np.exp(-EPOCHS / 5), np.full(40, np.nan), 1.0).score.value == 0


def test_wrong_labels_stand_at_the_top() -> None:
    """Logistic regression with many random features, which fits every label in the end: wrong ones come last."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    x = np.concatenate([2.0 * y[:, None] - 1 + rng.normal(size=(200, 20)), rng.normal(size=(200, 300))], axis=1)
    wrong = rng.random(200) < 0.1
    labels = np.where(wrong, 1 - y, y)
    w, losses = np.zeros(320), []
    for _ in range(150):
        z = x @ w
        losses.append(np.logaddexp(0, np.where(labels == 1, -z, z)))
        w -= 0.3 * x.T @ (1 / (1 + np.exp(-z)) - labels) / 200
    assert losses[-1].max() < np.log(2)  # every label has been fitted

    def auroc(score: np.ndarray) -> float:
        rank = np.argsort(np.argsort(score)) + 1
        return float((rank[wrong].sum() - wrong.sum() * (wrong.sum() + 1) / 2) / (wrong.sum() * (~wrong).sum()))

    assert auroc(cumulative_loss(np.array(losses))) > 0.9
    assert auroc(cumulative_loss(np.array(losses), labels)) > 0.9


def test_a_rare_class_is_no_suspect() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    losses = np.where(labels == 1, 2.0, 0.5)[None].repeat(3, 0)
    losses[:, 5] = 1.0
    assert cumulative_loss(losses).argmax() >= 90
    assert cumulative_loss(losses, labels).argmax() == 5


def test_forgetting_counts_what_was_known() -> None:
    steady = forgetting(np.tril(np.ones((10, 10))))
    assert steady.area == 0 and steady.events.sum() == 0 and steady.never.sum() == 0
    flicker = forgetting(np.stack([np.arange(10) % 2 == 0] * 4, axis=1))
    assert flicker.area == pytest.approx(0.5) and (flicker.events == 5).all()
    assert forgetting(np.zeros((3, 4))).never.mean() == 1


def test_what_is_known_only_by_heart() -> None:
    rng = np.random.default_rng(2)
    held_here = np.arange(5)[:, None] == np.arange(100) % 5
    easy = rng.random(100) < 0.7
    train = np.where(held_here, np.nan, 1.0)[None].repeat(3, 0)
    held = np.where(held_here, easy.astype(float), np.nan)[None].repeat(3, 0)
    mean, rows = by_heart(train, held)
    assert mean.value == pytest.approx(1 - easy.mean()) and mean.low < 0.3 < mean.high + 0.1
    assert (rows == ~easy).all()


def test_shapes_are_checked() -> None:
    with pytest.raises(WellfitError, match="compared"):
        memorization(np.zeros(5), np.zeros(6), 1.0)
    with pytest.raises(WellfitError, match="chance"):
        memorization(np.zeros(5), np.zeros(5), 0.0)
    with pytest.raises(WellfitError, match="shape"):
        cumulative_loss(np.zeros(4))
    with pytest.raises(WellfitError, match="shape"):
        forgetting(np.zeros((1, 4)))

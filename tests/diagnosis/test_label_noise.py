"""Wrong labels on made data, where it is known which are wrong and how far the classes overlap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import wilson
from wellfit.diagnosis.measures.label_noise import (
    confident_joint,
    estimate_label_noise,
    forest_probabilities,
    joined,
    label_quality,
    neighbour_labels,
    neighbour_probabilities,
    residual_outliers,
    stacked,
)
from wellfit.diagnosis.measures.noise_floor import noise_floor


def flipped(y: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(y)) < rate
    classes = int(y.max()) + 1
    return np.where(wrong, (y + rng.integers(1, classes, len(y))) % classes, y), wrong


def overlapping(n: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two normal clouds: inputs, labels, and the true posterior (n, 2)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 2))
    x[:, 0] += distance * (y - 0.5)
    p = 1 / (1 + np.exp(-distance * x[:, 0]))
    return x, y, np.stack([1 - p, p], axis=1)


@pytest.mark.parametrize(("distance", "rate"), [(1.5, 0.0), (1.5, 0.15), (3.0, 0.0), (3.0, 0.1), (3.0, 0.3)])
def test_floor_tells_flips_from_overlap(distance: float, rate: float) -> None:
    _, y, p = overlapping(6000, distance, 1)
    z, _ = flipped(y, rate, 2)
    found = estimate_label_noise(z, p)
    assert found.low - 0.01 <= rate <= found.high + 0.01
    assert found.high - found.low < 0.2
    assert found.answer == ("noisy" if rate else "clean")


def test_hopeless_overlap_is_not_called_noise() -> None:
    _, y, p = overlapping(800, 0.6, 3)  # nobody is ever sure: 38% of the labels disagree
    found = estimate_label_noise(y, p)
    assert found.disagreement > 0.3
    assert found.answer != "noisy"
    assert found.low <= 0.03


def test_interval_covers_the_rate() -> None:
    inside = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        m = rng.normal(2.0, 2.0, 1500)
        error = 0.9 / (1 + np.exp(m))
        found = noise_floor(m, rng.random(1500) < 0.15 + error * (1 - 0.15 / 0.9), classes=10)
        inside += found.low <= 0.15 <= found.high
    assert inside >= 9  # of 12, with 95%: fewer have a probability below 0.003


def test_noise_of_real_data() -> None:
    x, y = load_digits(return_X_y=True)
    x = x[:900] / 16
    z, wrong = flipped(y[:900], 0.2, 0)
    p = forest_probabilities(x, z, trees=40)
    found = estimate_label_noise(z, p, neighbours=neighbour_labels(x, z))
    assert found.answer == "noisy" and found.low <= wrong.mean() + 0.02 and found.high >= wrong.mean() - 0.02
    worst = np.argsort(label_quality(p, z))[: int(wrong.sum())]
    assert wrong[worst].mean() > 0.85
    clean = estimate_label_noise(y[:900], forest_probabilities(x, y[:900], trees=40))
    assert clean.answer == "clean"


def test_clean_real_data_is_called_clean() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    found = estimate_label_noise(y, forest_probabilities(x, y, trees=40))
    assert found.answer == "clean", found.sentence()


def test_quality_is_low_for_the_label_that_does_not_fit() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    for kind in ("self_confidence", "margin", "relative"):
        good, bad, other = label_quality(p, np.array([0, 2, 2]), kind)
        assert bad < min(good, other)
    np.testing.assert_allclose(label_quality(p, np.array([0, 2, 2]), "self_confidence"), [0.7, 0.1, 0.8])
    np.testing.assert_allclose(label_quality(p, np.array([0, 2, 2]), "margin"), [(0.5 + 1) / 2, (-0.6 + 1) / 2, (0.7 + 1) / 2])


def test_confident_joint_of_a_sure_model() -> None:
    labels = np.array([0] * 80 + [1] * 100)
    p = np.zeros((180, 2))
    p[:, 0] = 0.05
    p[:60, 0] = p[80:90, 0] = 0.95  # 20 of label 0 are truly 1, 10 of label 1 truly 0
    p[:, 1] = 1 - p[:, 0]
    joint, wrong = confident_joint(p, labels)
    np.testing.assert_allclose(joint * 180, [[60, 20], [10, 90]])
    assert wrong.sum() == 30


def test_seeds_are_averaged() -> None:
    p = np.array([[[0.2, 0.8]], [[0.6, 0.4]]])
    np.testing.assert_allclose(joined(p), [[0.4, 0.6]])
    np.testing.assert_allclose(joined(p, np.array([[0.0, 1.0]])), [[0.2, 0.8]])


def test_stacking_prefers_what_fits() -> None:
    _, y, p = overlapping(2000, 2.0, 5)
    noise = np.random.default_rng(0).dirichlet([1.0, 1.0], size=2000)
    rows = np.arange(2000)

    def loss(q: np.ndarray) -> float:
        return float(-np.log(q[rows, y]).mean())

    mixed = stacked(y, p, noise)
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0)
    assert loss(mixed) < loss(p) + 0.01
    sharp = p**4 / (p**4).sum(axis=1, keepdims=True)  # sure of itself: a temperature mends it
    assert loss(stacked(y, sharp)) < loss(p) + 0.02 < loss(sharp)


def test_a_rare_class_gets_a_forest_prediction() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    y = np.array([0] * 40 + [1] * 18 + [2] * 2)
    p = forest_probabilities(x, y, trees=10)
    assert p.shape == (60, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_neighbours_leave_the_row_itself_out() -> None:
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert neighbour_labels(x, np.array([0, 1, 2, 3]), k=1).ravel().tolist() == [1, 0, 3, 2]
    shares = neighbour_probabilities(x, np.array([0, 1, 1, 1]), k=1)
    np.testing.assert_allclose(shares, [[0.005, 0.995], [0.995, 0.005], [0.005, 0.995], [0.005, 0.995]])


def test_residual_outliers_are_the_planted_ones() -> None:
    rng = np.random.default_rng(0)
    r = rng.normal(size=2000)
    r[[5, 17, 40]] = [30.0, -50.0, 12.0]
    found = residual_outliers(r)
    assert found.rows.tolist() == [17, 5, 40]
    assert found.low < found.share < found.high and found.expected < 1e-5
    assert residual_outliers(np.ones(10)).share == 0.0


def test_wilson_interval() -> None:
    low, high = wilson(5, 50)
    assert (round(low, 3), round(high, 3)) == (0.043, 0.214)


@pytest.mark.parametrize("labels", [np.array([0, 2]), np.array([0.0, 1.0]), np.array([0])])
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(WellfitError, match="do not fit"):
        estimate_label_noise(labels, np.full((2, 2), 0.5))

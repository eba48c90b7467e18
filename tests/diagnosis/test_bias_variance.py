"""Bias and variance against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.bias_variance import bias_variance, extrapolation


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_sum(z: np.ndarray) -> np.ndarray:
    top = z.max(axis=-1)
    return np.log(np.exp(z - top[..., None]).sum(axis=-1)) + top


def halves(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(n)
    return order[:n // 2], order[n // 2:]


def test_least_squares_with_too_few_inputs() -> None:
    """Split one data set in half several times; the truth comes from fresh data sets of half the size."""
    rng = np.random.default_rng(0)
    weights = np.array([1.0, -0.5, 0.5, 0.3, 0.8])  # the last two are not seen by the model: bias

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 5))
        return x, x @ weights + 0.7 * rng.normal(size=n)

    def fitted(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
        return at[:, :3] @ np.linalg.lstsq(x[:, :3], y, rcond=None)[0]

    x_many, y_many = draw(4000)
    many = np.stack([fitted(*draw(20), x_many) for _ in range(400)])
    variance, error = float(many.var(axis=0).mean()), float(((many - y_many) ** 2).mean())
    hits = np.zeros(3)
    for trial in range(60):
        x, y = draw(40)
        x_test, y_test = draw(200)
        p = np.stack([[fitted(x[part], y[part], x_test) for part in halves(rng, 40)] for _ in range(6)])
        found = bias_variance(p, y_test, draws=200, seed=trial)
        assert found.bias.value + found.variance.value == pytest.approx(found.error.value)
        truth = (variance, error - variance, error)
        hits += [e.low <= t <= e.high for e, t in zip((found.variance, found.bias, found.error), truth, strict=True)]
    assert (hits / 60 >= 0.87).all(), hits / 60


@pytest.mark.parametrize(("classes", "noise", "scale"), [(2, 0.3, 1.0), (2, 3.0, 1.0), (10, 2.0, 2.0), (10, 8.0, 3.0)])
def test_the_likelihood_form_is_right_from_calm_to_saturated_logits(classes: int, noise: float, scale: float) -> None:
    rng = np.random.default_rng(classes)
    centre = scale * rng.normal(size=(600, classes))
    y = np.array([rng.choice(classes, p=p) for p in softmax(centre)])
    drawn = centre + noise * rng.normal(size=(300, 600, classes))
    variance = float((log_sum(drawn).mean(axis=0) - log_sum(centre)).mean())
    bias = float((log_sum(centre) - centre[np.arange(600), y]).mean())
    values = []
    for trial in range(10):
        p = softmax(centre + noise * rng.normal(size=(3, 2, 600, classes)))
        found = bias_variance(p, y, draws=200, seed=trial)
        values.append((found.variance.value, found.bias.value, found.share.value))
        assert found.kind == "cross-entropy"
    assert np.mean(values, axis=0)[:2] == pytest.approx([variance, bias], abs=0.03 * (variance + bias))
    assert np.mean(values, axis=0)[2] == pytest.approx(variance / (variance + bias), abs=0.03)


def test_one_repetition_knows_that_it_is_one() -> None:
    """All rows may agree on the two halves and yet be wrong together: rows alone would give a far too short interval."""
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(100):
        p = np.repeat(rng.normal(size=(1, 2, 5)) / 5, 40, axis=2)  # five directions in which networks differ
        found = bias_variance(p, rng.normal(size=200), draws=100, seed=trial)
        hits += found.variance.low <= 1 / 25 <= found.variance.high
    assert hits >= 65


def test_networks_that_agree_have_no_variance() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 50)
    p = np.repeat(np.repeat(softmax(rng.normal(size=(1, 1, 50, 3))), 2, axis=1), 2, axis=0)
    found = bias_variance(p, y)
    assert found.variance.value == pytest.approx(0) and found.share.high == pytest.approx(0, abs=1e-9)
    assert found.bias.value == pytest.approx(float(-np.log(p[0, 0, np.arange(50), y]).mean()))


def test_certain_and_wrong_is_a_finite_loss() -> None:
    y = np.zeros(20, dtype=int)
    p = np.zeros((2, 2, 20, 2))
    p[..., 1] = 1.0
    found = bias_variance(p, y)
    assert np.isfinite(list(found.bias.to_dict().values())).all() and found.variance.value == pytest.approx(0)


def test_the_extrapolation_is_between_its_ends() -> None:
    factors = extrapolation(np.ones(5), np.array([0.1, 1.3, 1.6, 1.9, 5.0]))
    assert (np.diff(factors) <= 0).all() and factors[-1] == 2.0
    assert factors[0] == pytest.approx(2 + 2**0.5, rel=0.03)


def test_shapes_are_checked() -> None:
    with pytest.raises(WellfitError, match="shape"):
        bias_variance(np.zeros((2, 3, 5)), np.zeros(5))
    with pytest.raises(WellfitError, match="no numbers"):
        bias_variance(np.full((2, 2, 5), np.nan), np.zeros(5))

"""Calibration against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.calibration import calibration


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sample(rng: np.random.Generator, n: int, temperature: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right after dividing their logits by ``temperature``, and labels."""
    z = 1.5 * rng.normal(size=(n, classes))
    y = (softmax(z).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return softmax(z * temperature), y


def truth(temperature: float) -> float:
    rng = np.random.default_rng(99)
    z = 1.5 * rng.normal(size=(400_000, 3))
    stated, real = softmax(z * temperature), softmax(z)
    confidence, right = stated.max(axis=1), real[np.arange(len(z)), stated.argmax(axis=1)]
    order = np.argsort(confidence)
    return float(np.sqrt(((right[order] - confidence[order]).reshape(200, -1).mean(axis=1) ** 2).mean()))


@pytest.mark.parametrize(("temperature", "n"), [(1.0, 200), (1.0, 2000), (2.0, 200), (2.0, 1000), (0.5, 400)])
def test_the_error_is_unbiased_and_covered(temperature: float, n: int) -> None:
    rng = np.random.default_rng(n)
    real, values, hits, warm = truth(temperature), [], 0, 0
    for trial in range(60):
        found = calibration(*sample(rng, n, temperature), draws=200, seed=trial)
        values.append(found.error.value**2)
        hits += found.error.low <= real <= found.error.high
        warm += found.temperature.low <= temperature <= found.temperature.high
    assert np.sqrt(np.mean(values)) == pytest.approx(real, abs=0.05 if real < 0.01 else 0.012)  # the root is cut at zero
    assert hits >= 51 and warm >= 51


def test_debiasing_takes_out_most_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(40):
        found = calibration(*sample(rng, 300, 1.0), bins=15, draws=10)
        plain.append(found.plain)
        debiased.append(found.error.value)
    assert np.mean(debiased) < 0.5 * np.mean(plain)
    assert np.median(debiased) < 0.02


def test_networks_that_agree_count_once() -> None:
    p, y = sample(np.random.default_rng(1), 300, 2.0)
    one, three = calibration(p, y), calibration(np.stack([p, p, p]), y)
    assert three.error.value == pytest.approx(one.error.value, abs=0.01)
    assert three.error.high == pytest.approx(one.error.high, rel=0.15)
    assert three.temperature.value == pytest.approx(one.temperature.value)


def test_the_temperature_lowers_the_loss() -> None:
    p, y = sample(np.random.default_rng(2), 500, 4.0)
    found = calibration(p, y)
    assert found.loss_tempered < found.loss and found.overconfidence.excludes(0)
    assert found.loss == pytest.approx(float(-np.log(p[np.arange(500), y]).mean()))
    finer = [float(-np.log(softmax(np.log(p) / t)[np.arange(500), y]).mean()) for t in np.geomspace(3, 6, 200)]
    assert found.loss_tempered == pytest.approx(min(finer), abs=1e-5)
    assert (found.low <= found.accuracy).all() and (found.accuracy <= found.high).all() and found.rows.sum() == 500


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(WellfitError, match="no probabilities"):
        calibration(np.full((20, 2), 2.0), np.zeros(20, dtype=int))
    with pytest.raises(WellfitError, match="cannot be measured"):
        calibration(np.full((20, 1), 1.0), np.zeros(20, dtype=int))

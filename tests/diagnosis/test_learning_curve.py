"""Forecasts of twice the data on curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.learning_curve import learning_curve

SIZES = np.array([100, 200, 400, 800])


def measured(rng: np.random.Generator, curve: np.ndarray, replicates: int, noise: float) -> np.ndarray:
    return curve[:, None] * np.exp(noise * rng.normal(size=(len(curve), replicates)))


@pytest.mark.parametrize(("floor", "exponent"), [(0.0, 0.3), (0.0, 1.0), (0.3, 0.5), (0.9, 0.7), (1.0, 0.5)])
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_twice_the_data_is_covered(floor: float, exponent: float, noise: float) -> None:
    rng = np.random.default_rng(int(100 * (floor + exponent)))
    at = np.append(SIZES, 1600)
    curve = 0.2 * (floor + (1 - floor) * (at / 800) ** -exponent)
    hits = gains = 0
    for trial in range(60):
        errors = measured(rng, curve, 3, noise)
        found = learning_curve(SIZES, errors[:4], draws=1500, seed=trial)
        truth = errors[4].mean()
        hits += found.error.low <= truth <= found.error.high
        gains += found.gain.low <= errors[3].mean() - truth <= found.gain.high
        assert found.gain.value == pytest.approx(found.errors[-1] - found.error.value, abs=1e-9)
    assert hits >= 47 and gains >= 47


def test_the_interval_narrows_with_replicates_and_is_no_excuse() -> None:
    """A steep, well measured curve gives a forecast that is closer than no change, and says that data will help."""
    rng = np.random.default_rng(0)
    curve = 0.05 + 3.0 * np.append(SIZES, 1600) ** -0.6
    widths = {}
    for replicates in (2, 16):
        errors = measured(rng, curve, replicates, 0.05)
        found = learning_curve(SIZES, errors[:4])
        widths[replicates] = found.error.high - found.error.low
    assert widths[16] < widths[2]
    exact = learning_curve(SIZES, measured(rng, curve[:4], 8, 0.01))
    assert exact.expected_gain.excludes(0) and exact.gain.excludes(0)
    assert abs(exact.error.value - curve[4]) < 0.3 * abs(curve[3] - curve[4])
    assert exact.share.value == pytest.approx(exact.gain.value / exact.errors[-1])


def test_a_level_curve_promises_nothing() -> None:
    found = learning_curve(SIZES, measured(np.random.default_rng(1), np.full(4, 0.3), 4, 0.03))
    assert not found.gain.excludes(0) and found.expected_gain.value < 0.02


def test_a_fall_that_quickens_is_not_missed() -> None:
    curve = np.array([0.55, 0.43, 0.24, 0.1, 0.03])
    found = learning_curve(SIZES, measured(np.random.default_rng(2), curve[:4], 3, 0.05))
    assert found.error.low <= 0.03 <= found.error.high and found.error.value < 0.06


def test_hard_folds_are_no_noise() -> None:
    """A fold that is hard at every size widens nothing."""
    rng = np.random.default_rng(3)
    curve = 0.1 + 2.0 * SIZES**-0.5
    own = np.exp(0.3 * rng.normal(size=5))
    same = measured(rng, curve, 5, 0.01)
    found = learning_curve(SIZES, same * own / own.mean())
    plain = learning_curve(SIZES, same)
    assert found.error.high - found.error.low < 1.5 * (plain.error.high - plain.error.low)


def test_the_unit_does_not_matter_and_order_neither() -> None:
    errors = measured(np.random.default_rng(4), 0.1 + SIZES**-0.5, 3, 0.03)
    small, large = learning_curve(SIZES, errors), learning_curve(SIZES[::-1], 1e4 * errors[::-1])
    for name in ("error", "gain", "floor"):
        assert getattr(large, name).low == pytest.approx(1e4 * getattr(small, name).low, rel=1e-6)


def test_gaps_single_runs_and_errors_of_zero() -> None:
    errors = measured(np.random.default_rng(5), 0.1 + SIZES**-0.5, 3, 0.03)
    errors[1, 2] = np.nan
    assert np.isfinite(learning_curve(SIZES, errors).error.high)
    alone = learning_curve(SIZES, errors[:, 0])
    assert alone.error.low < alone.error.value < alone.error.high
    perfect = learning_curve(SIZES, np.zeros((4, 3)), resolution=0.005)
    assert perfect.error.low >= 0 and perfect.error.high < 0.02 and not perfect.gain.excludes(0)


def test_a_forecast_further_on_is_wider() -> None:
    found = learning_curve(SIZES, measured(np.random.default_rng(6), 0.1 + SIZES**-0.5, 3, 0.03))
    near, far = found.forecast(1600), found.forecast(12800)
    assert near.value == pytest.approx(found.error.value)
    assert far.value < near.value and far.high - far.low > near.high - near.low
    middle, low, high = found.curve([100, 800, 1600])
    assert (np.diff(middle) < 0).all() and (low < middle).all() and (middle < high).all()


def test_what_is_no_curve_is_refused() -> None:
    with pytest.raises(WellfitError, match="three sizes"):
        learning_curve([10, 20], np.ones((2, 3)))
    with pytest.raises(WellfitError, match="three sizes"):
        learning_curve([10, 20, 20], np.ones((3, 3)))
    with pytest.raises(WellfitError, match="from 0 up"):
        learning_curve([10, 20, 40], -np.ones((3, 3)))
    with pytest.raises(WellfitError, match="from 0 up"):
        learning_curve([10, 20, 40], np.full((3, 3), np.nan))


def test_two_runs_that_agree_by_chance_are_no_proof() -> None:
    """Three sizes, one with two replicates that happen to be equal: the interval stays as wide as usual scatter asks for."""
    curve = 0.1 + 2.0 * SIZES[1:] ** -0.5
    table = np.full((3, 2), np.nan)
    table[:, 0], table[1, 1] = curve, curve[1]
    found = learning_curve(SIZES[1:], table)
    assert found.error.high - found.error.low > 0.05 * found.errors[-1]

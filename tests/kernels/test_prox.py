"""Proximal maps: minimisers, exact zeros, and safe at the ends of the number range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import brentq

from wellfit.kernels.prox import elastic_threshold_, group_threshold_, group_threshold_in_metric_, soft_threshold_

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
vectors = hnp.arrays(np.float64, st.integers(1, 12), elements=finite)
thresholds = st.floats(0, 1e6, allow_subnormal=False)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.copy())


def whole(t: torch.Tensor) -> torch.Tensor:
    return t.sum().expand_as(t)


def rows(t: torch.Tensor) -> torch.Tensor:
    return t.sum(1, keepdim=True).expand_as(t)


@given(vectors, thresholds)
def test_soft_threshold_is_the_formula(values: np.ndarray, threshold: float) -> None:
    expected = np.sign(values) * np.maximum(np.abs(values) - threshold, 0)
    as_tensor = torch.tensor(threshold, dtype=torch.float64)
    for given_ in (threshold, as_tensor, as_tensor.repeat(len(values))):
        found = soft_threshold_(tensor(values), given_).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-10)
        assert (found[np.abs(values) <= threshold] == 0).all()


@given(vectors, vectors, thresholds)
def test_soft_threshold_is_nonexpansive(a: np.ndarray, b: np.ndarray, threshold: float) -> None:
    size = min(len(a), len(b))
    moved = soft_threshold_(tensor(a[:size]), threshold) - soft_threshold_(tensor(b[:size]), threshold)
    assert float(moved.norm()) <= np.linalg.norm(a[:size] - b[:size]) * (1 + 1e-12) + 1e-9


@given(vectors)
def test_a_zero_threshold_changes_nothing(values: np.ndarray) -> None:
    zero = torch.zeros(len(values)).double()
    for found in (soft_threshold_(tensor(values), 0.0), soft_threshold_(tensor(values), zero),
                  elastic_threshold_(tensor(values), 0.0, 0.0), group_threshold_(tensor(values), 0.0, whole),
                  group_threshold_(tensor(values), zero, whole), group_threshold_in_metric_(tensor(values), zero, whole)):
        assert torch.equal(found, tensor(values))


def test_not_a_number_and_infinity_are_not_hidden() -> None:
    """A run that diverged must not look like a sparse one."""
    bad = torch.tensor([float("nan"), float("inf"), 1.0])
    for threshold in (0.5, torch.full((3,), 0.5)):
        found = soft_threshold_(bad.clone(), threshold)
        assert found[0].isnan()
        assert found[1] == float("inf")
        assert group_threshold_(bad.clone(), threshold, whole)[0].isnan()
    assert group_threshold_in_metric_(bad.clone(), torch.full((3,), 0.5), whole)[0].isnan()


@given(vectors, thresholds, st.floats(0, 100))
def test_elastic_threshold_is_the_formula(values: np.ndarray, threshold: float, shrink: float) -> None:
    found = elastic_threshold_(tensor(values), threshold, shrink).numpy()
    expected = np.sign(values) * np.maximum(np.abs(values) - threshold, 0) / (1 + shrink)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-10)


# ---------------------------------------------------------------------------------------------------- group lasso


@given(vectors, thresholds)
def test_group_threshold_is_the_formula(values: np.ndarray, threshold: float) -> None:
    norm = np.linalg.norm(values)
    expected = values * max(0.0, 1 - threshold / norm) if norm > 0 else values
    found = group_threshold_(tensor(values), threshold, whole).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_groups_in_a_reduced_sum_or_spread_over_each_entry() -> None:
    """``total`` may broadcast by size one or by an expanded view: both are sums of a group."""
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    reduced = group_threshold_(weight.clone(), 1.0, lambda t: t.sum(1, keepdim=True))
    assert torch.equal(reduced, group_threshold_(weight.clone(), 1.0, rows))
    assert torch.allclose(reduced, torch.tensor([[2.4, 3.2], [0.0, 0.0]]))


def root(values: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The minimiser of Σ (w - v)²/(2 s) + λ‖w‖ with c = λ s, by bracketing the scalar equation."""
    def excess(t: float) -> float:
        return float(np.sqrt(np.sum((values / (t + c)) ** 2)) - 1)

    if excess(0.0) <= 0:
        return np.zeros_like(values)
    high = float(np.linalg.norm(values))
    t = brentq(excess, 0.0, high, xtol=1e-300, rtol=1e-15, maxiter=1000)
    return values * t / (t + c)


logs = st.floats(-4, 4)


@given(st.lists(st.tuples(st.floats(-2, 2), logs), min_size=1, max_size=8))
def test_group_threshold_in_a_metric_is_the_minimiser(entries: list[tuple[float, float]]) -> None:
    """Step sizes over eight decades within a group: to single precision, and to double with more iterations."""
    values = np.array([10.0**v * (-1) ** i for i, (v, _) in enumerate(entries)])
    c = np.array([10.0**e for _, e in entries])
    expected = root(values, c)
    found = group_threshold_in_metric_(tensor(values), tensor(c), whole).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(values).max())
    found = group_threshold_in_metric_(tensor(values), tensor(c), whole, iterations=16).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13 * np.abs(values).max())


@pytest.mark.parametrize(("values", "c"), [
    ([1.0, 100.0], [1.0, 100.0]), ([100.0, 0.01, 1.0, 0.1, 10.0], [100.0, 1e-4, 1.0, 1e3, 100.0]),
    ([0.01, 0.1, 0.1, 1.0, 0.1, 100.0, 10.0, 10.0], [10.0, 100.0, 1e3, 10.0, 0.1, 100.0, 100.0, 1e3])])
def test_groups_on_the_edge_of_zero(values: list[float], c: list[float]) -> None:
    v, steps = np.array(values), np.array(c)
    found = group_threshold_in_metric_(tensor(v), tensor(steps), whole).numpy()
    np.testing.assert_allclose(found, root(v, steps), rtol=0, atol=1e-6 * v.max())


@given(vectors.filter(lambda v: bool(np.abs(v).max() > 1e-3)), st.floats(1e-3, 1e3))
def test_with_equal_steps_both_group_thresholds_agree(values: np.ndarray, threshold: float) -> None:
    plain = group_threshold_(tensor(values), threshold, whole)
    metric = group_threshold_in_metric_(tensor(values), torch.full((len(values),), threshold, dtype=torch.float64), whole)
    assert torch.allclose(plain, metric, rtol=1e-9, atol=1e-9 * float(np.abs(values).max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_group_threshold_in_a_metric_at_the_ends_of_the_range(dtype: torch.dtype) -> None:
    weight = torch.tensor([[0.0, 0.0], [1e-30, 1e-30], [1e15, -1e15], [1e-3, 1e3], [1.0, 1.0]], dtype=dtype)
    metric = torch.tensor([[1.0, 1.0], [1e-12, 1e-12], [1e-3, 1e3], [1e-12, 1e5], [0.0, 1.0]], dtype=dtype)
    found = group_threshold_in_metric_(weight.clone(), metric, rows)
    assert found.isfinite().all()
    assert (found[0] == 0).all()
    assert (found[1] == 0).all()
    assert torch.allclose(found[2], weight[2], rtol=1e-6)
    assert (found.abs() <= weight.abs()).all()  # shrinking never lengthens


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_vanishing_learning_rate_does_not_erase_groups(dtype: torch.dtype) -> None:
    """At the end of a cosine decay the threshold is tiny: then next to nothing may happen (once (w/c)²/c overflowed)."""
    for threshold in 10.0 ** np.arange(-35, -5.0):
        weight = torch.full((2, 64), 0.1, dtype=dtype)
        found = group_threshold_in_metric_(weight.clone(), torch.full_like(weight, float(threshold)), rows)
        assert torch.allclose(found, weight, rtol=1e-4), threshold


def test_each_group_is_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    metric = torch.rand(5, 4, generator=generator, dtype=torch.float64) * 2
    together = group_threshold_in_metric_(weight.clone(), metric, rows)
    for k in range(5):
        assert torch.allclose(together[k], group_threshold_in_metric_(weight[k].clone(), metric[k], whole), rtol=1e-14)

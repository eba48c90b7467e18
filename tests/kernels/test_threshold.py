"""Proximal maps that are not convex: global minimisers for every step size; singular values; factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wellfit.kernels.constrain import decay_to_bound_, inflected
from wellfit.kernels.factor import balanced_gates, open_factors
from wellfit.kernels.project import clamp_towards_, project_l2_shell_
from wellfit.kernels.prox import group_threshold_in_metric_, sparse_group_threshold_
from wellfit.kernels.threshold import (
    clip_singular_values_,
    firm_threshold_,
    group_firm_threshold_,
    half_threshold_,
    scad_threshold_,
)

vectors = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e3, 1e3, allow_subnormal=False))
points = st.floats(-20, 20)
scales = st.floats(1e-3, 10)


def mcp(w: np.ndarray, strength: float, gamma: float) -> np.ndarray:
    size = np.abs(w)
    return np.where(size <= gamma * strength, strength * size - size**2 / (2 * gamma), gamma * strength**2 / 2)


def scad(w: np.ndarray, strength: float, a: float) -> np.ndarray:
    size = np.abs(w)
    bend = (2 * a * strength * size - size**2 - strength**2) / (2 * (a - 1))
    return np.where(size <= strength, strength * size, np.where(size <= a * strength, bend, strength**2 * (a + 1) / 2))


def lowest(v: float, step: float, penalty: object) -> float:
    """The least of (w - v)²/(2s) + p(w) over a fine grid between 0 and v."""
    grid = np.linspace(0, v, 20_001)
    return float(((grid - v) ** 2 / (2 * step) + penalty(grid)).min())  # type: ignore[operator]


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@given(points, scales, st.floats(0.05, 20), st.floats(1e-2, 30))
def test_mcp_is_the_minimiser_for_small_and_large_steps(v: float, strength: float, gamma: float, step: float) -> None:
    found = firm_threshold_(one(v), strength, gamma, step).numpy()
    reached = float(((found - v) ** 2 / (2 * step) + mcp(found, strength, gamma))[0])
    assert reached <= lowest(v, step, lambda w: mcp(w, strength, gamma)) * (1 + 1e-9) + 1e-12
    assert found * v >= 0


@given(points, scales, st.floats(2.01, 20), st.floats(1e-2, 30))
def test_scad_is_the_minimiser_for_small_and_large_steps(v: float, strength: float, a: float, step: float) -> None:
    found = scad_threshold_(one(v), strength, a, step).numpy()
    reached = float(((found - v) ** 2 / (2 * step) + scad(found, strength, a))[0])
    assert reached <= lowest(v, step, lambda w: scad(w, strength, a)) * (1 + 1e-9) + 1e-12
    assert found * v >= 0


@given(points, scales, st.floats(1e-2, 30))
def test_half_norm_is_the_minimiser(v: float, strength: float, step: float) -> None:
    found = half_threshold_(one(v), strength * step).numpy()
    reached = float(((found - v) ** 2 / (2 * step) + strength * np.sqrt(np.abs(found)))[0])
    assert reached <= lowest(v, step, lambda w: strength * np.sqrt(np.abs(w))) * (1 + 1e-9) + 1e-12
    assert found == 0 or abs(float(found[0])) >= (strength * step) ** (2 / 3) / 2, "what survives jumps"


def everything(t: torch.Tensor) -> torch.Tensor:
    return t.sum().reshape(1)


def group_objective(w: torch.Tensor, v: torch.Tensor, c: torch.Tensor, limit: float) -> float:
    """Times 2/λ: Σ (w - v)²/c + 2t - t²/B up to t = B, and B beyond."""
    t = min(float(w.norm()), limit)
    return float(((w - v).square() / c).sum()) + 2 * t - t * t / limit


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-4, 3)), min_size=1, max_size=6), st.floats(0.02, 8))
def test_group_mcp_is_the_minimiser_in_any_diagonal_metric(entries: list[tuple[float, float]], limit: float) -> None:
    """Whatever minimises is a group soft threshold by some share u of the strength (u = 1 - t/B): all of them are tried."""
    v = torch.tensor([e[0] for e in entries], dtype=torch.float64)
    c = torch.tensor([10.0 ** e[1] for e in entries], dtype=torch.float64)
    found = group_firm_threshold_(v.clone(), c, limit, everything)
    reached = group_objective(found, v, c, limit)
    least = min(group_objective(group_threshold_in_metric_(v.clone(), c * u, everything, 30), v, c, limit)
                for u in np.concatenate([np.linspace(0, 1, 201), np.geomspace(1e-5, 0.01, 40)]).tolist())
    assert reached <= least * (1 + 1e-9) + 1e-12
    assert bool((found * v >= 0).all())
    assert bool((found.abs() <= v.abs()).all())


@given(vectors, scales)
def test_group_mcp_without_a_limit_is_the_group_lasso(values: np.ndarray, strength: float) -> None:
    c = torch.linspace(0.5, 2.0, len(values), dtype=torch.float64) * strength
    lasso = group_threshold_in_metric_(torch.from_numpy(values.copy()), c, everything, 20)
    found = group_firm_threshold_(torch.from_numpy(values.copy()), c, 1e12, everything, 20)
    np.testing.assert_allclose(found, lasso, rtol=1e-7, atol=1e-7)


def test_group_mcp_leaves_large_groups_bit_for_bit() -> None:
    v = torch.tensor([[0.3, -0.4], [3.0, 1.0]])
    found = group_firm_threshold_(v.clone(), torch.full_like(v, 0.01), 0.5, lambda t: t.sum(1, keepdim=True))
    assert torch.equal(found[1], v[1])


@given(vectors)
def test_a_strength_of_nothing_changes_nothing(values: np.ndarray) -> None:
    for step in (1e-3, 0.7, 50.0, torch.full((len(values),), 0.3, dtype=torch.float64)):
        zero = torch.tensor(0.0, dtype=torch.float64)
        for found in (firm_threshold_(torch.from_numpy(values.copy()), zero, 3.0, step),
                      scad_threshold_(torch.from_numpy(values.copy()), zero, 3.7, step),
                      half_threshold_(torch.from_numpy(values.copy()), zero * step),
                      group_firm_threshold_(torch.from_numpy(values.copy()), zero.expand(len(values)), 3.0, everything)):
            assert np.array_equal(found.numpy(), values)


@given(vectors, scales)
def test_large_gamma_is_soft_thresholding(values: np.ndarray, strength: float) -> None:
    soft = np.sign(values) * np.maximum(np.abs(values) - strength, 0)
    for threshold in (firm_threshold_, scad_threshold_):
        found = threshold(torch.from_numpy(values.copy()), strength, 1e12, 1.0).numpy()
        np.testing.assert_allclose(found, soft, rtol=1e-6, atol=1e-6)


def test_a_diverged_weight_stays_no_number() -> None:
    for threshold in (lambda w: firm_threshold_(w, 1.0, 3.0, 1.0), lambda w: scad_threshold_(w, 1.0, 3.7, 1.0),
                      lambda w: half_threshold_(w, 1.0),
                      lambda w: group_firm_threshold_(w, torch.ones_like(w), 0.2, lambda t: t)):
        found = threshold(torch.tensor([float("nan"), float("inf"), 0.1]))
        assert found[0].isnan()
        assert found[1] == float("inf")
        assert found[2] == 0
    bad = torch.tensor([[float("nan"), 1.0], [2.0, 3.0]])
    kept = clip_singular_values_(bad.clone(), lambda s: s.clamp(max=0.1))
    assert torch.equal(kept.nan_to_num(7.0), bad.nan_to_num(7.0))


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-2, 1)), min_size=1, max_size=6), st.floats(0.05, 1), st.floats(0.05, 1))
def test_the_sparse_group_threshold_is_a_minimiser_in_any_diagonal_metric(entries: list[tuple[float, float]], single: float,
                                                                           group: float) -> None:
    v, s = (torch.tensor([e[i] for e in entries], dtype=torch.float64) for i in (0, 1))
    s = 10.0**s

    def value(w: torch.Tensor) -> float:
        return float(((w - v) ** 2 / (2 * s)).sum() + single * w.abs().sum() + group * w.norm())

    found = sparse_group_threshold_(v.clone(), single * s, group * s, lambda t: t.sum().expand_as(t), in_metric=True)
    reached = value(found)
    generator = torch.Generator().manual_seed(0)
    for n in range(60):  # convex: no descent nearby means none anywhere
        move = torch.randn(v.shape, generator=generator, dtype=torch.float64) * 10.0 ** -(n % 6) * s
        assert reached <= value(found + move) + 1e-6 * (1 + reached)


matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)),
                      elements=st.floats(-10, 10, allow_subnormal=False))


@given(matrices, scales)
def test_clipping_singular_values_is_the_nearest_matrix_of_that_norm(values: np.ndarray, radius: float) -> None:
    found = clip_singular_values_(torch.from_numpy(values.copy()), lambda s: s.clamp(max=radius)).numpy()
    sizes = np.linalg.svd(values, compute_uv=False)
    assert np.linalg.svd(found, compute_uv=False).max() <= radius * (1 + 1e-12)
    assert np.linalg.norm(found - values) == pytest.approx(np.linalg.norm(np.maximum(sizes - radius, 0)), rel=1e-6, abs=1e-9)
    if sizes.max() < radius * (1 - 1e-9):
        assert np.array_equal(found, values)


@given(matrices, st.floats(0, 2), st.floats(0, 2), st.floats(0, 1))
def test_the_shell_between_two_norms(values: np.ndarray, a: float, b: float, share: float) -> None:
    low, high = min(a, b), max(a, b) + 1e-3
    norms = np.linalg.norm(values, axis=1)
    assume(not ((np.abs(values) > 0) & (np.abs(values) < 1e-100)).any())
    found = project_l2_shell_(torch.from_numpy(values.copy()), low, high, share, (-1,)).numpy()
    expected = (1 - share) * norms + share * np.clip(norms, low, high)
    alive = norms > 0
    np.testing.assert_allclose(np.linalg.norm(found, axis=1)[alive], expected[alive], rtol=1e-9)
    assert (found[~alive] == 0).all()
    within = (norms > low * (1 + 1e-12)) & (norms < high * (1 - 1e-12))
    assert np.array_equal(found[within], values[within])


@given(vectors, st.floats(-2, 2), st.floats(0, 2))
def test_clamping_is_exact_at_the_ends(values: np.ndarray, low: float, width: float) -> None:
    expected = np.clip(values, low, low + width)
    assert np.array_equal(clamp_towards_(torch.from_numpy(values.copy()), low, low + width, 1.0).numpy(), expected)
    assert np.array_equal(clamp_towards_(torch.from_numpy(values.copy()), low, low + width, 0.0).numpy(), values)


@given(matrices)
def test_factors_and_gates_give_the_weight_back(values: np.ndarray) -> None:
    weight = torch.from_numpy(values)
    for count in (2, 3, 4):
        assert torch.equal(torch.stack(open_factors(weight, count)).prod(0), weight)
    root = torch.full((len(values), 1), values.shape[1] ** 0.5, dtype=torch.float64)
    inner, gate = balanced_gates(weight, lambda t: t.sum(1, keepdim=True), root)
    assert torch.allclose(inner * gate / root, weight, rtol=1e-12, atol=1e-12)
    alive = weight.abs().amax(1) > 1e-100
    assert torch.allclose(inner.norm(dim=1)[alive], gate[alive, 0], rtol=1e-9)


def test_a_multiplier_settles_the_weight_at_its_bound() -> None:
    """Under a steady pull outwards the mean square ends at the bound, from above and without going far below."""
    weight, multiplier = torch.full((4,), 2.0, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for _ in range(3000):
        weight += 0.01
        decay_to_bound_(weight, multiplier, weight.square().mean(), 0.25, 0.05)
        assert (weight >= 0).all()
    assert float(weight.square().mean()) == pytest.approx(0.25, rel=0.05)
    assert float(multiplier) > 0


def test_no_multiplier_grows_below_the_bound() -> None:
    weight, multiplier = torch.ones(3, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    for _ in range(100):
        before = weight.clone()
        decay_to_bound_(weight, multiplier, weight.square().mean(), 2.0, 1.0)
    assert float(multiplier) == 0
    assert torch.equal(weight, before)


def test_inflection_is_where_growth_slows() -> None:
    seen, growth = torch.tensor(0.0), torch.tensor(-float("inf"))
    found = [bool(inflected(torch.tensor(v), seen, growth, torch.tensor(True))) for v in (1.0, 3.0, 6.0, 8.0, 9.0)]
    assert found == [False, False, False, True, True]
    assert not bool(inflected(torch.tensor(9.1), seen, growth, torch.tensor(False)))
    assert float(seen) == 9.0

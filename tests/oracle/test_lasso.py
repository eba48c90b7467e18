"""Sparse solutions: scikit-learn's and skglm's objective and zeros, under every optimizer whose metric is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from sklearn import linear_model

import wellfit as wf
from oracle.convex import FEATURES, OPTIMIZERS, ROWS, ZEROS, data, half_squares, solve

GAP = 1e-3


def loss(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(((y - x @ w) ** 2).sum() / (2 * len(x)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_l1_is_scikit_learns_lasso(name: str) -> None:
    x, y = data()
    alpha = 0.1
    expected = linear_model.Lasso(alpha, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y[:, 0]).coef_
    found = solve(wf.Recipe(wf.L1(alpha)), OPTIMIZERS[name], x, y)[:, 0]

    def objective(w: np.ndarray) -> float:
        return loss(x, y, w[:, None]) + alpha * float(np.abs(w).sum())

    assert 0 <= objective(found) - objective(expected) + 1e-9 < GAP
    assert np.array_equal(found == 0, expected == 0), f"{(found == 0).sum()} zeros here, {(expected == 0).sum()} there"
    assert (found == 0).sum() >= ZEROS - 5
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_penalty_in_the_loss_makes_no_zeros_and_lr_times_strength_solves_another_problem() -> None:
    """Why the prox acts in the optimizer's metric: the two shortcuts, measured."""
    x, y = data()
    inputs, targets, alpha = torch.from_numpy(x), torch.from_numpy(y), 0.1
    best = linear_model.Lasso(alpha, fit_intercept=False, tol=1e-10).fit(x, y[:, 0]).coef_
    lowest = loss(x, y, best[:, None]) + alpha * np.abs(best).sum()
    for shortcut in ("penalty in the loss", "threshold by lr · strength"):
        weight = torch.zeros(FEATURES, 1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([weight], lr=0.03)
        for step in range(1500):
            optimizer.param_groups[0]["lr"] = 0.03 * min(1.0, 2 * (1 - step / 1500))
            optimizer.zero_grad()
            value = half_squares(inputs @ weight, targets)
            (value + alpha * weight.abs().sum() if shortcut.startswith("penalty") else value).backward()
            optimizer.step()
            if shortcut.startswith("threshold"):
                with torch.no_grad():
                    weight.copy_(torch.nn.functional.softshrink(weight, optimizer.param_groups[0]["lr"] * alpha))
        w = weight.detach().numpy()
        assert (w == 0).sum() < (best == 0).sum() / 2, shortcut
        if shortcut.startswith("threshold"):
            assert loss(x, y, w) + alpha * np.abs(w).sum() - lowest > 100 * GAP


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "fused adamw"])
@pytest.mark.parametrize("ratio", [0.3, 0.9])
def test_elastic_net_is_scikit_learns_elastic_net(name: str, ratio: float) -> None:
    """Their alpha·ρ is strength·l1_ratio here; their alpha·(1 - ρ)/2 is strength·(1 - l1_ratio)."""
    x, y = data()
    strength = 0.15
    lasso, ridge = strength * ratio, strength * (1 - ratio)
    alpha, rho = lasso + 2 * ridge, lasso / (lasso + 2 * ridge)
    expected = linear_model.ElasticNet(alpha=alpha, l1_ratio=rho, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(
        x, y[:, 0]).coef_
    found = solve(wf.Recipe(wf.ElasticNet(strength, l1_ratio=ratio)), OPTIMIZERS[name], x, y)[:, 0]

    def objective(w: np.ndarray) -> float:
        return loss(x, y, w[:, None]) + lasso * float(np.abs(w).sum()) + ridge * float((w**2).sum())

    assert objective(found) - objective(expected) < GAP
    assert np.array_equal(found == 0, expected == 0)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0])
def test_the_critical_strength_of_an_elastic_net_depends_on_its_ratio(ratio: float) -> None:
    x, y = data()
    critical = float(np.abs(x.T @ y).max() / ROWS) / ratio
    for factor, empty in ((1.01, True), (0.97, False)):
        w = solve(wf.Recipe(wf.ElasticNet(critical * factor, l1_ratio=ratio)), OPTIMIZERS["sgd"], x, y, steps=600)
        assert (not w.any()) == empty


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "fused adamw"])
def test_group_lasso_over_inputs_is_scikit_learns_multi_task_lasso(name: str) -> None:
    """A group is everything that leaves one input: here the three outputs' weights of a feature."""
    x, y = data(outputs=3)
    alpha = 0.25
    expected = linear_model.MultiTaskLasso(alpha, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y).coef_.T
    found = solve(wf.Recipe(wf.GroupLasso(alpha / np.sqrt(3))), OPTIMIZERS[name], x, y)

    def objective(w: np.ndarray) -> float:
        return loss(x, y, w) + alpha * float(np.linalg.norm(w, axis=1).sum())

    assert objective(found) - objective(expected) < GAP
    assert np.array_equal(found.any(1), expected.any(1))
    assert (~found.any(1)).sum() >= ZEROS - 5


GROUP_SIZES = [1, 2, 3, 4, 5] * 4  # 20 groups of 60 columns
GROUPS = np.repeat(np.arange(20), GROUP_SIZES)


def group_objective(x: np.ndarray, y: np.ndarray, w: np.ndarray, strength: float) -> float:
    norms = [np.sqrt(s) * np.linalg.norm(w[g == GROUPS]) for g, s in enumerate(GROUP_SIZES)]
    return loss(x, y, w[:, None]) + strength * float(sum(norms))


def group_problem() -> tuple[np.ndarray, np.ndarray]:
    x, _ = data()
    rng = np.random.default_rng(3)
    truth = rng.standard_normal(FEATURES) * np.isin(GROUPS, [2, 8, 13, 19])
    return x, (x @ truth + 0.5 * rng.standard_normal(ROWS))[:, None]


STRENGTH = 0.08


@cache
def by_cvxpy() -> np.ndarray:
    cvxpy = pytest.importorskip("cvxpy")
    x, y = group_problem()
    w = cvxpy.Variable(FEATURES)
    norms = [np.sqrt(s) * cvxpy.norm(w[np.flatnonzero(g == GROUPS)], 2) for g, s in enumerate(GROUP_SIZES)]
    half_squares = cvxpy.sum_squares(y[:, 0] - x @ w) / (2 * ROWS)
    cvxpy.Problem(cvxpy.Minimize(half_squares + STRENGTH * cvxpy.sum(cvxpy.hstack(norms)))).solve()
    found = w.value
    return np.where([np.linalg.norm(found[g == GROUPS]) > 1e-4 for g in GROUPS], found, 0.0)


def by_skglm() -> np.ndarray:
    pytest.importorskip("skglm")
    from skglm import GroupLasso

    x, y = group_problem()
    groups = [np.flatnonzero(g == GROUPS).tolist() for g in range(20)]
    return GroupLasso(groups=groups, alpha=STRENGTH, weights=np.sqrt(np.array(GROUP_SIZES, float)), fit_intercept=False,  # type: ignore[no-any-return]
                      tol=1e-10, max_iter=1000).fit(x, y[:, 0]).coef_


@pytest.mark.parametrize(("name", "oracle"), [
    *((n, by_cvxpy) for n in ("sgd", "nesterov", "adam", "amsgrad", "fused adamw")),
    pytest.param("adamw", by_skglm, marks=pytest.mark.slow)])  # compiling skglm takes most of half a minute
def test_group_lasso_over_source_features(name: str, oracle: Callable[[], np.ndarray]) -> None:
    """Groups of different sizes, weighted by the root of their size, also in Adam's metric."""
    expected = oracle()
    x, y = group_problem()
    found = solve(wf.Recipe(wf.GroupLasso(STRENGTH)), OPTIMIZERS[name], x, y, feature_groups=torch.from_numpy(GROUPS))[:, 0]
    assert abs(group_objective(x, y, found, STRENGTH) - group_objective(x, y, expected, STRENGTH)) < GAP
    kept = [bool(found[g == GROUPS].any()) for g in range(20)]
    assert kept == [bool(expected[g == GROUPS].any()) for g in range(20)]
    assert 4 <= sum(kept) <= 10
    for g, keep in enumerate(kept):
        assert (found[g == GROUPS] != 0).all() == keep, "a group is on or off as a whole"


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_group_lasso_over_units_is_cvxpys(name: str) -> None:
    """A group is one unit's incoming weights: whole outputs go."""
    cvxpy = pytest.importorskip("cvxpy")
    x, _ = data(outputs=4)
    x = x[:, :6]
    rng = np.random.default_rng(4)
    truth = rng.standard_normal((6, 4)) * np.array([1.0, 0.05, 1.0, 0.0])
    y = x @ truth + 0.3 * rng.standard_normal((ROWS, 4))
    strength = 0.12
    w = cvxpy.Variable((6, 4))
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(y - x @ w) / (2 * ROWS) + strength * np.sqrt(6) * cvxpy.sum(
        cvxpy.norm(w, 2, axis=0))))
    lowest = problem.solve()
    found = solve(wf.Recipe(wf.GroupLasso(strength, groups="units", select="weights")), OPTIMIZERS[name], x, y)
    reached = loss(x, y, found) + strength * np.sqrt(6) * float(np.linalg.norm(found, axis=0).sum())
    assert reached - lowest < GAP
    assert found.any(0).tolist() == (np.linalg.norm(w.value, axis=0) > 1e-4).tolist()
    assert not found.any(0).all()

"""Mixing of examples and targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wellfit.core.draws import Streams
from wellfit.kernels.mix import beta_quantile, mix, one_hot, partners, select_columns, smooth


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.floats(0, 1))
def test_mix_is_between_both_and_exact_at_one(own: float, other: float, share: float) -> None:
    a, b = torch.tensor([own], dtype=torch.float64), torch.tensor([other], dtype=torch.float64)
    value = float(mix(a, b, torch.tensor(share, dtype=torch.float64)))
    slack = 1e-15 * 4 * max(abs(own), abs(other))
    assert min(own, other) - slack <= value <= max(own, other) + slack
    assert float(mix(a, b, torch.tensor(1.0, dtype=torch.float64))) == own


@given(st.integers(1, 12), st.integers(0, 40))
def test_partners_are_a_cyclic_shift(size: int, shift: int) -> None:
    rows = torch.arange(size)
    assert partners(rows, torch.tensor(shift), 0).tolist() == [(i + shift) % size for i in range(size)]
    stacked = torch.stack([rows, rows + 100])
    found = partners(stacked, torch.tensor([shift, shift + 1]), 1)
    assert found[0].tolist() == [(i + shift) % size for i in range(size)]
    assert found[1].tolist() == [(i + shift + 1) % size + 100 for i in range(size)]


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_the_folded_beta_distribution(alpha: float) -> None:
    """max(B, 1 - B) with B ~ Beta(α, α)."""
    u = Streams(5).at("mixup", 0).uniform((20_000,))
    share = beta_quantile(u, alpha).numpy()
    assert (share >= 0.5).all()
    assert (share <= 1).all()
    beta = stats.beta(alpha, alpha)
    assert stats.kstest(share, lambda x: np.clip(beta.cdf(x) - beta.cdf(1 - x), 0, 1)).pvalue > 1e-3


def test_alpha_zero_keeps_each_example() -> None:
    u = Streams(5).at("mixup", 0).uniform((100,))
    assert (beta_quantile(u, 0.0) == 1).all()
    per_member = beta_quantile(torch.tensor([0.3, 0.3, 0.3]).double(), torch.tensor([0.0, 1.0, 0.2]).double())
    assert per_member[0] == 1
    assert per_member[1] == pytest.approx(0.7)
    assert per_member[2] == pytest.approx(float(beta_quantile(torch.tensor(0.3).double(), 0.2)))


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 1e3, 1e6])
def test_extreme_alphas_stay_in_range(alpha: float) -> None:
    share = beta_quantile(Streams(6).at("mixup", 0).uniform((500,)), alpha)
    assert share.isfinite().all()
    assert ((share >= 0.5) & (share <= 1)).all()


@given(st.floats(0, 0.999), st.integers(1, 9))
def test_smoothing_keeps_a_distribution(amount: float, classes: int) -> None:
    targets = one_hot(torch.arange(classes), classes, torch.float64)
    found = smooth(targets, amount)
    assert torch.allclose(found.sum(-1), torch.ones(classes).double(), atol=1e-12)
    assert torch.allclose(found.diagonal(), torch.full((classes,), 1 - amount + amount / classes).double(), atol=1e-12)
    assert torch.equal(smooth(targets, 0.0), targets)


def test_one_hot_of_stacked_labels() -> None:
    labels = torch.tensor([[0, 2], [1, 1]])
    assert torch.equal(one_hot(labels, 3, torch.float64), torch.nn.functional.one_hot(labels, 3).double())


def test_select_columns() -> None:
    own, other = torch.ones(2, 3), torch.zeros(2, 3)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert torch.equal(select_columns(own, other, mask), mask.float())

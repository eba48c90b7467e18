"""Copies across a split, on made data where they were planted, and on data that have none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.near_copies import near_copies, nearest, standardized


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("columns", [6, 40])
def test_planted_copies_are_found(noise: float, columns: int) -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(1500, columns)), rng.normal(size=(400, columns))
    source = rng.choice(1500, 40, replace=False)
    test[:40] = train[source] + noise * rng.normal(size=(40, columns))
    found = near_copies(train, test)
    assert found.found and found.low < 0.1 < found.high
    pairs = dict(zip(found.rows.tolist(), found.copies.tolist(), strict=True))
    assert sum(pairs.get(i) == int(source[i]) for i in range(40)) >= 38
    assert found.exact == (0.1 if noise == 0 else 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_random_splits_of_real_data_have_none(seed: int) -> None:
    for x in (load_digits().data[:800], load_wine().data):
        order = np.random.default_rng(seed).permutation(len(x))
        cut = len(x) * 3 // 4
        assert not near_copies(x[order[:cut]], x[order[cut:]]).found


def test_data_on_a_grid_repeat_themselves_by_chance() -> None:
    rng = np.random.default_rng(1)
    found = near_copies(rng.integers(0, 3, (1000, 4)), rng.integers(0, 3, (300, 4)))
    assert found.exact > 0.9  # 81 cells
    assert not found.found


def test_images_and_missing_cells() -> None:
    rng = np.random.default_rng(2)
    train, test = rng.random((300, 1, 8, 8)), rng.random((60, 1, 8, 8))
    train[:, 0, 3, 3] = np.where(rng.random(300) < 0.3, np.nan, train[:, 0, 3, 3])
    test[:20] = train[:20]
    found = near_copies(train, test)
    assert found.found and set(range(20)) <= set(found.rows.tolist())


def test_chance_within_smooth_data_is_about_the_stated_one() -> None:
    rng = np.random.default_rng(3)
    found = near_copies(rng.random((4000, 5)), rng.random((4000, 5)), rare=0.01)
    assert found.share < 0.04 and abs(found.excess) < 0.02
    assert 3.5 < found.dimension < 6.0


def test_nearest_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(4)
    known, asked = rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    distance, index = nearest(known, asked, 4)
    full = np.linalg.norm(asked[:, None] - known[None], axis=2)
    np.testing.assert_array_equal(index, np.argsort(full, axis=1)[:, :4])
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :4], rtol=1e-5)
    _, others = nearest(known, known, 1, own=np.arange(50))
    assert (others[:, 0] != np.arange(50)).all()


def test_standardized_columns() -> None:
    a, b = standardized(np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 2.0], [5.0, 5.0, 4.0]]), np.array([[3.0, 9.0, np.nan]]))
    assert a.shape == (3, 3)  # the constant column went, the one with a gap has two
    np.testing.assert_allclose(a[:, 0].std(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(b[0], [0.0, 0.0, 0.5], atol=1e-6)


def test_other_columns_are_refused() -> None:
    with pytest.raises(WellfitError, match="different columns"):
        near_copies(np.zeros((9, 2)), np.zeros((4, 3)))

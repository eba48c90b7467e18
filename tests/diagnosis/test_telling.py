"""Columns that give the target away, and columns that merely are good."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from wellfit.diagnosis.measures.telling import Telling, telling_column


def found(inputs: np.ndarray, y: np.ndarray) -> Telling | None:
    columns = np.arange(inputs.shape[1])
    return telling_column(inputs, y, columns, [f"column {c}" for c in columns], regression=False)


@pytest.mark.parametrize("load", [load_digits, load_wine, load_breast_cancer, load_iris])
def test_public_data_have_none(load: object) -> None:
    data = load()  # type: ignore[operator]
    assert found(data.data[:800], data.target[:800]) is None


@pytest.mark.parametrize("wrong", [0.01, 0.05])
def test_a_noisy_copy_of_the_target_is_named_even_where_the_rest_does_as_well(wrong: float) -> None:
    data = load_digits()
    rng = np.random.default_rng(3)
    rows = rng.permutation(len(data.target))[:700]
    y = data.target[rows]
    codes = np.where(rng.random(len(y)) < wrong, rng.integers(0, 10, len(y)), y)
    copy = codes + 0.3 * rng.standard_normal(len(y))
    telling = found(np.column_stack([data.data[rows], copy]), y)
    assert telling is not None
    assert telling.column == "column 64"
    assert telling.lonely
    assert "'column 64' alone" in telling.sentence()


def test_one_strong_measurement_among_weak_ones_is_no_leak() -> None:
    """It errs one time in four, though nothing else knows what it knows."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    strong = y + 0.7 * rng.standard_normal(600)
    weak = 0.3 * y[:, None] + rng.standard_normal((600, 5))
    assert found(np.column_stack([strong, weak]), y) is None

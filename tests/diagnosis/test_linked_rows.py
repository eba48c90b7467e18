"""Copies that give labels away, and rows that merely resemble each other."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from wellfit.diagnosis.measures.linked_rows import cost_of_links
from wellfit.diagnosis.measures.near_copies import nearest, standardized


def nearest_pairs(x: np.ndarray, count: int) -> np.ndarray:
    """The rows that are nearest to another, each with it."""
    distance, index = nearest(x, x, 1, own=np.arange(len(x)))
    rows = np.argsort(distance[:, 0])[:count]
    return np.stack([rows, index[rows, 0]], axis=1)


def test_copies_whose_labels_nothing_else_tells() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    y = rng.integers(0, 2, 200)
    twice = np.concatenate([x, x[:80] + 0.01 * rng.normal(size=(80, 8))])
    links = np.stack([np.arange(200, 280), np.arange(80)], axis=1)
    found = cost_of_links(twice, np.concatenate([y, y[:80]]), links, regression=False)
    assert found is not None and found.low > 0.2


def test_values_are_given_away_as_well() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(150, 6)), rng.normal(size=150)
    links = np.stack([np.arange(150, 210), np.arange(60)], axis=1)
    found = cost_of_links(np.concatenate([x, x[:60]]), np.concatenate([y, y[:60]]), links, regression=True)
    assert found is not None and found.low > 0.2


def test_alike_digits_cost_nothing() -> None:
    x, y = load_digits(return_X_y=True)
    scaled, = standardized(x[:700])
    found = cost_of_links(scaled, y[:700], nearest_pairs(scaled, 150), regression=False)
    assert found is not None and found.low <= 0.005


def test_a_handful_says_nothing() -> None:
    x = np.random.default_rng(2).normal(size=(60, 3))
    assert cost_of_links(x, np.arange(60) % 2, np.array([[0, 1], [2, 3]]), regression=False) is None


def test_a_dense_place_is_no_group_of_copies() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([0.01 * rng.normal(size=(60, 4)), rng.normal(size=(60, 4))])
    chain = np.stack([np.arange(59), np.arange(1, 60)], axis=1)
    assert cost_of_links(x, rng.integers(0, 2, 120), chain, regression=False) is None

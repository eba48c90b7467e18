"""Groups of near copies that no column names."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer

from wellfit.diagnosis.measures.copy_clusters import copy_clusters
from wellfit.diagnosis.measures.near_copies import standardized


def test_planted_groups_are_clustered_and_their_cost_is_measured() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 6)
    y = rng.integers(0, 2, 60)[group]  # a coin for each group: nothing to learn but the groups themselves
    x = rng.normal(size=(60, 10))[group] + 0.1 * rng.normal(size=(360, 10))
    found = copy_clusters(x, y, regression=False)
    assert found.leaks and found.clustered > 0.9 and found.largest == 6 and found.clusters == 60
    assert found.flattery is not None and found.flattery.random < 0.1 < 0.3 < found.flattery.honest
    assert all(len(set(found.cluster[group == g].tolist())) == 1 for g in range(60))


def test_evenly_spread_rows_have_none() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 6))
    found = copy_clusters(x, (x[:, 0] > 0).astype(int), regression=False)
    assert not found.leaks and found.clustered < 0.3


def test_real_rows_without_groups() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    scaled, = standardized(x)
    assert not copy_clusters(scaled, y, regression=False).leaks


def test_few_rows_are_left_alone() -> None:
    found = copy_clusters(np.zeros((30, 2)), np.zeros(30), regression=True)
    assert not found.leaks and found.flattery is None

"""Shifts that were planted, and random splits that have none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.near_copies import standardized
from wellfit.diagnosis.measures.shift import consequence, feature_shifts, label_shift, shifted_sentence, two_sample


def biased(x: np.ndarray, seed: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows drawn into the other set by their place along the first principal direction."""
    rng = np.random.default_rng(seed)
    along = (x - x.mean(axis=0)) @ np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][0]
    chosen = rng.random(len(x)) < 0.3 * 2 / (1 + np.exp(-strength * along / along.std()))
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def test_random_splits_are_not_called_shifted() -> None:
    fired = 0
    for x in (load_breast_cancer().data[:400], load_digits().data[:400]):
        scaled, = standardized(x)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(x))
            fired += two_sample(scaled[order[: len(x) * 3 // 4]], scaled[order[len(x) * 3 // 4:]], seed=seed).found
    assert fired <= 1


def test_selection_along_a_principal_direction_is_found() -> None:
    for x in (load_breast_cancer().data[:400], load_digits().data[:400]):
        scaled, = standardized(x)
        inside, outside = biased(scaled, 0, 1.5)
        found = two_sample(scaled[inside], scaled[outside])
        assert found.found and found.low > 0.55 and found.low < found.auc < found.high
        assert "differ" in shifted_sentence(found)


def test_the_shifted_feature_is_named() -> None:
    rng = np.random.default_rng(0)
    one = pd.DataFrame({"a": rng.normal(size=500), "b": rng.normal(size=500), "c": rng.choice(["x", "y"], 500),
                        "d": rng.normal(size=500)})
    two = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(0.6, 1, 300), "c": rng.choice(["x", "y"], 300, p=[0.8, 0.2]),
                        "d": np.where(rng.random(300) < 0.2, np.nan, rng.normal(size=300))})
    shifts = feature_shifts(one, two)
    assert {(s.name, s.kind) for s in shifts if s.p < 0.01} == {("b", "number"), ("c", "category"), ("d", "missing")}
    assert next(s for s in shifts if s.name == "c").distance == pytest.approx(0.3, abs=0.08)


def test_correction_holds_over_many_columns() -> None:
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(10):
        one, two = pd.DataFrame(rng.normal(size=(200, 30))), pd.DataFrame(rng.normal(size=(200, 30)))
        false += any(s.p < 0.05 for s in feature_shifts(one, two))
    assert false <= 3  # of 10, with 5% each


def test_label_shift_of_classes_and_values() -> None:
    rng = np.random.default_rng(2)
    assert label_shift(rng.integers(0, 3, 300), rng.integers(0, 3, 300), regression=False).p > 0.01
    assert label_shift(rng.integers(0, 3, 300), rng.integers(0, 2, 300), regression=False).p < 1e-6
    assert label_shift(rng.normal(size=300), rng.normal(0.7, 1, 300), regression=True).p < 1e-6


def test_consequence_of_a_shift_that_matters() -> None:
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(600, 3)), rng.normal([3.0, 0, 0], 1, size=(300, 3))

    def target(v: np.ndarray) -> np.ndarray:
        return np.where(v[:, 0] > 1.5, v[:, 1] < 0, v[:, 1] > 0).astype(int)  # the rule turns round where few rows were seen

    cost = consequence(x, target(x), z, target(z), regression=False, weights=two_sample(x, z).weights)
    assert cost.low > 0 and cost.outside > cost.inside + 0.1
    assert cost.weighted > cost.inside  # the few reference rows over there say so beforehand
    assert cost.effective < 600
    same = consequence(x[:300], target(x[:300]), x[300:], target(x[300:]), regression=False)
    assert same.low < 0 < same.high or abs(same.difference) < 0.05


def test_consequence_for_values_is_on_one_scale() -> None:
    rng = np.random.default_rng(4)
    x, z = rng.normal(size=(400, 2)), rng.normal(size=(200, 2))
    cost = consequence(x, x[:, 0], z, z[:, 0], regression=True)
    assert 0 <= cost.inside < 0.2 and abs(cost.difference) < 0.1


def test_weights_point_to_the_other_set() -> None:
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=(500, 2)), rng.normal([1.0, 0.0], 1, size=(500, 2))
    weights = two_sample(x, z).weights
    assert weights.mean() == pytest.approx(1.0)
    assert np.corrcoef(weights, x[:, 0])[0, 1] > 0.5


def test_groups_on_one_side_do_not_tell_the_side() -> None:
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(60), 10)
    x = rng.normal(size=(60, 8))[group] + 0.05 * rng.normal(size=(600, 8))
    first, second = group < 40, group >= 40
    assert two_sample(x[first], x[second]).auc > 0.8  # copies of a row lie on its side
    assert not two_sample(x[first], x[second], groups=group).found


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(WellfitError, match="same columns"):
        two_sample(np.zeros((20, 2)), np.zeros((20, 3)))

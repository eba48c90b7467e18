"""Groups and order in time that were planted, and columns that only look like it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.hidden_groups import group_codes, hidden_groups
from wellfit.diagnosis.measures.honest_split import folds_of_groups, paired
from wellfit.diagnosis.measures.time_order import ordered_columns, time_order


def patients(kind: str, seed: int = 0, groups: int = 40, each: int = 8) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[str]]:
    """Rows of a patient are near copies, and its class has nothing to do with its features."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    y = rng.integers(0, 2, groups)[group]
    x = rng.normal(size=(groups, 12))[group] + 0.15 * rng.normal(size=(groups * each, 12))
    if kind == "text":
        name = np.array([f"p{n}" for n in rng.permutation(1000)[:groups]], dtype=object)[group]
    elif kind == "prefix":
        code = rng.permutation(1000)[:groups][group]
        name = np.array([f"{c}_{i % each}" for i, c in enumerate(code)], dtype=object)
    else:
        name = rng.permutation(1000)[:groups][group]
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(12)]).assign(patient=name)
    return frame, y, x, [f"x{i}" for i in range(12)]


@pytest.mark.parametrize("kind", ["text", "prefix", "number"])
def test_the_column_that_names_groups_is_found(kind: str) -> None:
    frame, y, x, sources = patients(kind)
    found = hidden_groups(frame, y, x, sources, regression=False)
    assert [g.column for g in found] == ["patient"]
    assert found[0].leaks and found[0].groups == 40 and found[0].part == ("prefix" if kind == "prefix" else "value")
    assert found[0].closeness > 0.9 and found[0].constancy > 0.9
    assert found[0].flattery.random < 0.1 and 0.3 < found[0].flattery.honest < 0.7  # classes are coins
    assert "'patient'" in found[0].sentence()


def test_groups_of_numbers() -> None:
    frame, _, x, sources = patients("text")
    level = np.random.default_rng(5).normal(size=40)
    y = np.repeat(level, 8) + 0.1 * np.random.default_rng(6).normal(size=320)
    found = hidden_groups(frame, y, x, sources, regression=True)
    assert found[0].column == "patient" and found[0].leaks and found[0].flattery.honest > 0.6 > 0.2 > found[0].flattery.random


def test_an_informative_category_is_no_group() -> None:
    rng = np.random.default_rng(1)
    shop = rng.integers(0, 12, 600)
    x = rng.normal(size=(600, 6))
    y = (rng.random(600) < 0.2 + 0.05 * shop).astype(int)
    frame = pd.DataFrame(x, columns=list("abcdef")).assign(shop=[f"s{s}" for s in shop])
    inputs = np.concatenate([x, np.eye(12)[shop]], axis=1)
    assert hidden_groups(frame, y, inputs, [*"abcdef", *["shop"] * 12], regression=False) == []


def test_a_quantity_and_its_double_are_no_groups() -> None:
    rng = np.random.default_rng(2)
    years = rng.integers(1, 30, 800)
    level = np.array([f"l{v:02d}" for v in years], dtype=object)
    noisy = years + 0.01 * rng.normal(size=800)  # so that rows of one value are near each other
    x = np.stack([years, noisy], axis=1).astype(float)
    frame = pd.DataFrame({"years": years, "noisy": noisy, "level": level})
    inputs = np.concatenate([x, np.eye(30)[years]], axis=1)
    found = hidden_groups(frame, (years > 15).astype(int), inputs, ["years", "noisy", *["level"] * 30], regression=False)
    assert found == []


def test_groups_that_do_not_matter_do_not_leak() -> None:
    frame, _, x, sources = patients("text")
    y = (np.random.default_rng(3).random(320) < 0.5).astype(int)  # unrelated to patients: no split helps
    assert not any(g.leaks for g in hidden_groups(frame, y, x, sources, regression=False))


def test_what_may_name_a_group() -> None:
    assert group_codes(pd.Series([0.5, 1.5])) == []
    assert [p for p, _ in group_codes(pd.Series(["309_1", "309_2", "310_1"], dtype=object))] == ["value", "prefix"]
    (_, code), = group_codes(pd.Series([3.0, np.nan, 3.0, np.nan]))
    assert code[0] == code[2] and len(set(code.tolist())) == 3  # rows without a value are groups of their own


def test_folds_keep_groups_whole_and_classes_alike() -> None:
    rng = np.random.default_rng(0)
    groups, y = rng.integers(0, 30, 300), rng.integers(0, 3, 300)
    folds = folds_of_groups(groups, y, 5, False, rng)
    assert all(len(set(folds[groups == g].tolist())) == 1 for g in range(30))
    assert set(folds.tolist()) == set(range(5)) and np.bincount(folds).min() > 40
    assert min(np.bincount(y[folds == f], minlength=3).min() for f in range(5)) > 8


def test_interval_of_clusters_is_wider_than_that_of_rows() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(20), 50)
    gap = rng.normal(size=20)[cluster]
    by_cluster, by_row = paired(np.zeros(1000), gap, cluster), paired(np.zeros(1000), gap, np.arange(1000))
    assert by_cluster.high - by_cluster.low > 3 * (by_row.high - by_row.low)
    assert by_cluster.difference == pytest.approx(gap.mean())


def test_drift_in_time_is_found_and_its_absence_too() -> None:
    rng = np.random.default_rng(4)
    n = 600
    t = rng.random(n)
    x = np.stack([rng.normal(size=n), t + 0.02 * rng.normal(size=n), rng.normal(size=n)], axis=1)
    drifting = (np.sin(25 * t) + 0.3 * rng.normal(size=n) > 0).astype(int)  # known from neighbours in time, not from the past
    assert time_order(x, drifting, t, regression=False, column="when").leaks
    steady = (x[:, 0] > 0).astype(int)
    found = time_order(x, steady, t, regression=False)
    assert not found.leaks and abs(found.flattery.difference) < 0.05


def test_dates_give_an_order() -> None:
    frame = pd.DataFrame({"when": pd.date_range("2020-01-01", periods=30), "n": range(30)})
    assert list(ordered_columns(frame)) == ["when"]
    assert (np.diff(ordered_columns(frame)["when"]) > 0).all()


def test_too_few_rows_in_time() -> None:
    with pytest.raises(WellfitError, match="by time"):
        time_order(np.zeros((9, 2)), np.zeros(9), np.arange(9), regression=True)


def test_the_target_by_another_name_is_no_group() -> None:
    """Every class is one group: no split by groups could be learned from."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(8), 12)
    inputs = y[:, None] + 0.05 * rng.standard_normal((len(y), 3))
    frame = pd.DataFrame({"code": [f"k{c}" for c in y], "a": inputs[:, 0], "b": inputs[:, 1], "c": inputs[:, 2]})
    assert hidden_groups(frame, y, inputs, ["a", "b", "c"], regression=False) == []


def test_groups_that_are_a_class_each_are_spread_over_the_folds() -> None:
    y = np.repeat(np.arange(10), 7)
    folds = folds_of_groups(y, y, 5, False, np.random.default_rng(0))
    assert np.bincount(folds).tolist() == [14] * 5

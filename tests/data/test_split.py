"""Splits: proportions, rare classes, groups, time, separate test rows, and their file."""

import numpy as np
import pandas as pd
import pytest

from wellfit.core.errors import WellfitError
from wellfit.data import load_split, load_table, make_split, save_split

RNG = np.random.default_rng(0)


def table_of(y, **columns):
    roles = {role: role for role in ("group", "time") if role in columns}
    data = pd.DataFrame({"x": np.random.default_rng(1).normal(size=len(y)), **columns, "y": y})
    return load_table(data, "y", **roles)


def parts(split):
    return {"train": split.train, "validation": split.validation, "test": split.test}


def check(split, n_rows):
    """Every row in exactly one part; folds cover the development rows with disjoint pairs."""
    together = np.concatenate(list(parts(split).values()))
    assert sorted(together.tolist()) == list(range(n_rows))
    for rows in together, *(rows for fold in split.folds for rows in fold):
        assert rows.dtype == np.int64
    for train, validation in split.folds:
        assert len(train)
        assert len(validation)
        assert not np.intersect1d(train, validation).size
        assert np.isin(np.concatenate([train, validation]), split.development).all()
        assert (np.diff(train) > 0).all()
        assert (np.diff(validation) > 0).all()


LETTERS = np.repeat(list("abc"), [60, 30, 10])


@pytest.mark.parametrize("y", [LETTERS, RNG.normal(size=100), np.arange(100) % 2])
@pytest.mark.parametrize("folds", [None, 5])
def test_sizes_and_determinism(y, folds):
    table = table_of(y)
    split = make_split(table, seed=3, folds=folds)
    check(split, 100)
    assert [len(rows) for rows in parts(split).values()] == [60, 20, 20]
    again, other = make_split(table, seed=3, folds=folds), make_split(table, seed=4, folds=folds)
    assert all((a == b).all() for a, b in zip(parts(split).values(), parts(again).values(), strict=True))
    assert all((a[1] == b[1]).all() for a, b in zip(split.folds, again.folds, strict=True))
    assert (split.test != other.test).any()


def test_without_folds_there_is_one_pair():
    split = make_split(table_of(LETTERS))
    assert len(split.folds) == 1
    assert split.folds[0][0] is split.train
    assert split.folds[0][1] is split.validation


def test_classes_keep_their_share():
    table = table_of(LETTERS)
    split = make_split(table, folds=5)
    for rows, counts in ((split.train, [36, 18, 6]), (split.validation, [12, 6, 2]), (split.test, [12, 6, 2])):
        assert np.bincount(table.y[rows]).tolist() == counts
    for _, validation in split.folds:
        assert np.abs(np.bincount(table.y[validation], minlength=3) - [9.6, 4.8, 1.6]).max() < 1


def test_regression_targets_keep_their_distribution():
    y = np.random.default_rng(0).lognormal(size=500)
    table = table_of(y)
    split = make_split(table)
    for rows in parts(split).values():
        assert abs(np.quantile(y[rows], [0.25, 0.5, 0.75]) - np.quantile(y, [0.25, 0.5, 0.75])).max() < 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [None, 2, 5])
def test_rare_classes(seed, folds):
    counts = [60, 25, 2, 3, 4, 5]
    table = table_of(np.repeat(list("abcdef"), counts))
    split = make_split(table, seed=seed, folds=folds)
    check(split, len(table))
    assert (np.bincount(table.y[split.train], minlength=6) >= 1).all()
    for rows in (split.validation, split.test):
        assert (np.bincount(table.y[rows], minlength=6)[3:] >= 1).all()
    if folds == 5:
        spread = np.array([np.bincount(table.y[v], minlength=6) for _, v in split.folds])
        assert (spread.max(axis=0) - spread.min(axis=0) <= 1).all()


def test_more_folds_than_any_class_has_rows():
    table = table_of(np.repeat(list("abcde"), 4))
    check(make_split(table, folds=8), 20)
    with pytest.raises(WellfitError, match="More folds"):
        make_split(table, folds=17)


@pytest.mark.parametrize("y", ["classes", "numbers"])
@pytest.mark.parametrize("seed", range(4))
def test_groups_never_straddle(y, seed):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 40, 300)
    table = table_of(np.array(list("abc"))[group % 3] if y == "classes" else rng.normal(size=300), group=group)
    split = make_split(table, seed=seed, folds=4)
    check(split, 300)
    for first, second in ((split.train, split.validation), (split.train, split.test),
                          (split.validation, split.test), *split.folds):
        assert not np.intersect1d(table.groups[first], table.groups[second]).size
    assert 0.12 <= len(split.test) / 300 <= 0.28
    assert 0.12 <= len(split.validation) / 300 <= 0.28
    if y == "classes":
        assert all(len(set(table.y[rows])) == 3 for rows in parts(split).values())


def test_classes_made_of_few_groups_are_in_every_part():
    group = np.repeat(np.arange(24), 15)
    table = table_of(np.array(list("abcdefgh"))[group % 8], group=group)
    split = make_split(table)
    for rows in parts(split).values():
        assert np.bincount(table.y[rows]).tolist() == [15] * 8


def test_a_giant_group_is_not_the_test_part():
    group = np.concatenate([np.zeros(120), np.repeat(np.arange(1, 17), 5)])
    table = table_of(np.tile(["a", "b"], 100), group=group)
    assert len(make_split(table).test) == 40


def test_more_folds_than_groups():
    table = table_of(np.tile(["a", "b"], 30), group=np.repeat(np.arange(6), 10))
    with pytest.raises(WellfitError, match="More folds"):
        make_split(table, folds=6)


@pytest.mark.parametrize("time", ["days", "years"])
def test_time_runs_forward(time):
    order = np.random.default_rng(0).permutation(200)
    times = pd.date_range("2020-01-01", periods=200)[order] if time == "days" else 2000 + order // 20
    table = table_of(np.random.default_rng(1).normal(size=200), time=times)
    split = make_split(table, folds=4)
    check(split, 200)
    assert [len(rows) for rows in parts(split).values()] == [120, 40, 40]
    when = table.times
    assert when[split.train].max() < when[split.validation].min()
    assert when[split.validation].max() < when[split.test].min()
    sizes = [len(train) for train, _ in split.folds]
    assert sizes == sorted(set(sizes))
    assert len(sizes) == 4
    for train, validation in split.folds:
        assert when[train].max() < when[validation].min()


def test_time_and_groups_together():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 30, 200)
    table = table_of(rng.normal(size=200), group=group, time=group * 3.0 + rng.normal(size=200) * 5)
    split = make_split(table, folds=3)
    check(split, 200)
    last = pd.Series(table.times).groupby(table.groups).transform("max").to_numpy()
    for first, second in ((split.train, split.validation), (split.validation, split.test), *split.folds):
        assert not np.intersect1d(table.groups[first], table.groups[second]).size
        assert table.times[first].max() < last[second].min()


def test_too_few_times():
    with pytest.raises(WellfitError, match="different times"):
        make_split(table_of(RNG.normal(size=40), time=np.arange(40) % 2))


def test_given_test_rows_are_kept():
    data = pd.DataFrame({"x": RNG.normal(size=50), "y": ["a", "b"] * 25})
    table = load_table(data, "y", test=data.iloc[:14])
    split = make_split(table, folds=3)
    check(split, 64)
    assert split.test.tolist() == list(range(50, 64))
    assert len(split.validation) == 12


@pytest.mark.parametrize("options", [{"test_fraction": 0}, {"test_fraction": 1.0}, {"validation_fraction": -0.1},
                                     {"folds": 1}, {"folds": 0}])
def test_wrong_options(options):
    with pytest.raises(WellfitError):
        make_split(table_of(LETTERS), **options)


def test_ten_rows_are_enough():
    check(make_split(table_of(np.tile(["a", "b"], 5))), 10)


def test_file_round_trip(tmp_path):
    split = make_split(table_of(LETTERS), folds=4)
    save_split(tmp_path / "split.npz", split)
    loaded = load_split(tmp_path / "split.npz")
    for name, rows in parts(split).items():
        assert (getattr(loaded, name) == rows).all()
        assert getattr(loaded, name).dtype == np.int64
    assert len(loaded.folds) == 4
    for first, second in zip(split.folds, loaded.folds, strict=True):
        assert (first[0] == second[0]).all()
        assert (first[1] == second[1]).all()


def test_broken_files(tmp_path):
    path = tmp_path / "split.npz"
    with pytest.raises(WellfitError, match="no such split"):
        load_split(path)
    path.write_bytes(b"nothing")
    with pytest.raises(WellfitError, match="damaged"):
        load_split(path)
    rows = np.arange(3)
    np.savez(path, format=[1], train=rows, validation=rows, test=rows)
    with pytest.raises(WellfitError, match="two parts"):
        load_split(path)
    np.savez(path, format=[2], train=rows, validation=rows + 3, test=rows + 6)
    with pytest.raises(WellfitError, match="unknown format"):
        load_split(path)
    np.savez(path, format=[1], train=rows[::-1], validation=rows + 3, test=rows + 6)
    with pytest.raises(WellfitError, match="not sorted"):
        load_split(path)
    np.savez(path, format=[1], train=np.array([{"a": 1}], dtype=object), validation=rows, test=rows)
    with pytest.raises(WellfitError, match="damaged"):
        load_split(path)

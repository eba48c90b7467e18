"""Leaks: found when planted, quiet on honest data."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from wellfit.data import find_leaks, load_table, make_split

N = 300


def leaks_of(frame, **options):
    table = load_table(frame, "y", **options)
    return find_leaks(table, make_split(table))


def found(notes, code):
    return [note for note in notes if note.code == code]


def classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4))
    return pd.DataFrame(x, columns=list("abcd")).assign(y=np.where(x[:, 0] + rng.normal(size=N) > 0, "yes", "no"))


def amounts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4))
    return pd.DataFrame(x, columns=list("abcd")).assign(y=x[:, 0] + 0.5 * rng.normal(size=N))


@pytest.mark.parametrize("leak", [
    lambda y: np.where(y == "yes", "late", "in time"),
    lambda y: (y == "yes") + 0.01 * np.random.default_rng(1).normal(size=N),
    lambda y: np.where(y == "yes", np.random.default_rng(1).choice([-1.0, 1.0], N), 0.0),
    lambda y: np.where(y == "yes", np.random.default_rng(1).normal(size=N), np.nan),
    lambda y: pd.Timestamp("2024-01-01") + pd.to_timedelta((y == "yes") * 40 + np.arange(N) % 30, unit="D"),
])
def test_a_column_that_tells_the_class(leak):
    frame = classes()
    notes = found(leaks_of(frame.assign(told=leak(frame["y"].to_numpy()))), "leak_column")
    assert len(notes) == 1
    assert "'told'" in notes[0].message
    assert notes[0].level == "warning"


@pytest.mark.parametrize("leak", [lambda y: y * 3 + 1, lambda y: np.exp(y), lambda y: -(y ** 3), lambda y: y.round(2)])
def test_a_column_that_tells_the_amount(leak):
    frame = amounts()
    notes = found(leaks_of(frame.assign(told=leak(frame["y"].to_numpy()))), "leak_column")
    assert len(notes) == 1
    assert "'told'" in notes[0].message


@pytest.mark.parametrize("frame", [classes(), amounts()])
def test_honest_data_is_quiet(frame):
    assert leaks_of(frame) == ()


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_diabetes])
def test_public_data_has_no_telling_column(load):
    data = load(as_frame=True)
    assert not found(leaks_of(data.data.assign(y=data.target)), "leak_column")


def test_a_leak_of_a_rare_class_and_many_classes():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(12), 60)
    frame = pd.DataFrame({"a": rng.normal(size=720), "told": y * 10 + rng.integers(0, 9, 720), "y": y.astype(str)})
    assert "'told'" in found(leaks_of(frame, task="multiclass"), "leak_column")[0].message


@pytest.mark.parametrize("task", ["classes", "amounts"])
def test_a_wide_table_is_screened_quickly(task):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(72, 1500))).add_prefix("g")
    y = rng.integers(0, 2, 72) if task == "classes" else rng.normal(size=72)
    frame["g1234"] = 4.0 * y + 0.05 * rng.normal(size=72)
    table = load_table(frame.assign(y=y), "y")
    split = make_split(table)
    start = time.perf_counter()
    assert ["'g1234'" in note.message for note in found(find_leaks(table, split), "leak_column")] == [True]
    assert time.perf_counter() - start < 4


def test_kept_identifiers():
    frame = classes().assign(id=np.arange(N), t=np.arange(N) + 7)
    assert "'id', 't'" in found(leaks_of(frame, id_policy="keep"), "id_column")[0].message
    assert "'id'" not in found(leaks_of(frame), "id_column")[0].message


def test_copied_rows_are_counted():
    rng = np.random.default_rng(0)
    half = pd.DataFrame({"a": rng.normal(size=150), "k": rng.choice(list("pq"), 150), "y": rng.choice(["u", "v"], 150)})
    twice = pd.concat([half, half.assign(y=lambda f: np.where(f["a"] > 0, f["y"], np.where(f["y"] == "u", "v", "u")))],
                      ignore_index=True)
    table = load_table(twice, "y")
    split = make_split(table)
    test_note, validation_note = found(find_leaks(table, split), "duplicate_rows")
    partner = (split.test + 150) % 300
    twins = np.isin(partner, split.development)
    same = twins & (table.y[partner] == table.y[split.test])
    assert f"{twins.sum()} test rows of {len(split.test)} " in test_note.message
    assert f"{same.sum()} of them with the same target" in test_note.message
    assert test_note.level == "warning"
    assert "validation rows" in validation_note.message


def test_copies_in_one_group_are_no_leak():
    rng = np.random.default_rng(0)
    half = pd.DataFrame({"a": rng.normal(size=150), "b": rng.normal(size=150), "g": np.arange(150),
                         "y": rng.choice(["u", "v"], 150)})
    assert not found(leaks_of(pd.concat([half, half], ignore_index=True), group="g"), "duplicate_rows")


def test_the_same_table_as_test_table():
    frame = classes()
    note = found(leaks_of(frame, test=frame.iloc[:30]), "duplicate_rows")[0]
    assert "30 test rows of 30 (100.0%)" in note.message
    assert "30 of them with the same target" in note.message

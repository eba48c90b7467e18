"""The target: task, classes in order, label text, and every way it can be unusable."""

import numpy as np
import pandas as pd
import pytest

from wellfit.core.errors import WellfitError
from wellfit.data import infer_task, load_table


def table_of(values, **options):
    values = pd.Series(values)
    x = np.random.default_rng(0).normal(size=len(values))
    return load_table(pd.DataFrame({"x": x, "y": values}), "y", **options)


@pytest.mark.parametrize(("values", "task"), [
    (np.arange(150) % 3, "multiclass"), (np.arange(400) % 20, "multiclass"), (np.arange(420) % 21, "regression"),
    (np.arange(100) % 6, "regression"), (np.arange(12) % 2, "binary"), (np.arange(150) % 3 + 0.5, "regression"),
    (np.arange(90) % 2 + 0.5, "binary"), (np.linspace(0, 1, 90), "regression"),
    (-(np.arange(150) % 3) * 100.0, "multiclass")])
def test_task_of_numbers(values, task):
    assert infer_task(np.asarray(values, dtype=float)) == task
    assert table_of(values).task == task
    assert table_of(pd.Series(values).astype(str)).task == task


@pytest.mark.parametrize(("values", "classes", "names"), [
    (["b", "a"] * 30, ("a", "b"), ("a", "b")),
    (["c10", "c9", "C1"] * 20, ("C1", "c9", "c10"), ("C1", "c9", "c10")),
    ([True, False] * 30, (False, True), ("False", "True")),
    (["TRUE", "false"] * 30, (False, True), ("false", "TRUE")),
    ([10, 9, -1] * 40, (-1, 9, 10), ("-1", "9", "10")),
    ([1.0, 2.0, np.nan] * 40, (1, 2), ("1", "2")),
    (["01", "10", "02"] * 40, (1, 2, 10), ("01", "02", "10")),
    ([0.5, 1.5] * 40, (0.5, 1.5), ("0.5", "1.5")),
    ([" Yes", "No "] * 40, ("No", "Yes"), ("No", "Yes")),
    (pd.Categorical([3, 1] * 30), (1, 3), ("1", "3")),
    (pd.array([True, False] * 30, dtype="boolean"), (False, True), ("False", "True")),
])
def test_classes_in_natural_order_as_python_values(values, classes, names):
    table = table_of(values)
    assert table.classes == classes
    assert [type(c) for c in table.classes] == [type(c) for c in classes]
    assert table.class_names == names
    assert table.y.dtype == np.int64
    known = [v for v in pd.Series(values).tolist() if not pd.isna(v)]
    assert [table.class_names[i].strip() for i in table.y[:2]] == [
        (str(int(v)) if isinstance(v, float) and v.is_integer() else str(v)).strip() for v in known[:2]]


def test_label_text_of_a_csv_is_kept(tmp_path):
    pd.DataFrame({"x": np.arange(40) % 7, "y": ["true", "false"] * 20}).to_csv(tmp_path / "t.csv", index=False)
    table = load_table(tmp_path / "t.csv", "y")
    assert table.classes == (False, True)
    assert table.class_names == ("false", "true")
    assert table.fingerprint["classes"] == [False, True]


def test_missing_targets_are_dropped_and_told():
    table = table_of(["a", "b", None] * 20)
    assert len(table) == len(table.y) == 40
    assert table.columns[0].n_missing == 0
    assert "20 rows of 60" in next(n.message for n in table.notes if n.code == "target_missing")
    infinite = table_of([np.inf, *np.linspace(0, 1, 40)])
    assert len(infinite) == 40
    with pytest.raises(WellfitError, match="missing in every row"):
        table_of([None] * 20)


@pytest.mark.parametrize("values", [["a"] * 30, [1] * 30, [1.5] * 30, [True] * 30])
def test_a_single_class(values):
    with pytest.raises(WellfitError, match="single class"):
        table_of(values)
    if not isinstance(values[0], str):
        with pytest.raises(WellfitError, match="same value"):
            table_of(values, task="regression")


def test_rare_classes():
    with pytest.raises(WellfitError, match=r"(?s)single row.*'van'.*at least 5 rows per class is recommended"):
        table_of(["car"] * 20 + ["bus"] * 20 + ["van"])
    with pytest.raises(WellfitError, match="free text or an identifier"):
        table_of([f"name {i}" for i in range(30)])
    table = table_of(["car"] * 20 + ["bus"] * 20 + ["van"] * 4 + ["cab"] * 2)
    note = next(n for n in table.notes if n.code == "rare_class")
    assert note.level == "warning"
    assert "'cab (2)'" in note.message
    assert "'van (4)'" in note.message


def test_labels_that_differ_in_case_only_are_told():
    assert "similar_classes" in [n.code for n in table_of(["Yes", "yes", "no"] * 20).notes]


@pytest.mark.parametrize(("values", "task", "result"), [
    (np.arange(150) % 3, "regression", "regression"), (np.arange(112) % 28, "multiclass", "multiclass"),
    (np.arange(112) % 28, "classification", "multiclass"), (np.arange(60) % 2, "multiclass", "binary"),
    (np.arange(60) % 2, "regression", "regression"), ([True, False] * 30, "regression", "regression")])
def test_the_task_can_be_forced(values, task, result):
    assert table_of(values, task=task).task == result


def test_forced_tasks_that_cannot_be():
    with pytest.raises(WellfitError, match="exactly two classes"):
        table_of(np.arange(60) % 3, task="binary")
    with pytest.raises(WellfitError, match="not numeric"):
        table_of(["a", "b"] * 30, task="regression")
    with pytest.raises(WellfitError, match="too large"):
        table_of([1e308, -1e308, *np.linspace(0, 1, 40)])
    with pytest.raises(WellfitError, match="neither numbers nor labels"):
        table_of([{"a": 1}] * 30)
    with pytest.raises(WellfitError, match="is a date"):
        table_of(pd.date_range("2024-01-01", periods=30))


def test_a_regression_target_with_a_few_stray_texts():
    values = [str(v) for v in np.linspace(0, 1, 50)]
    values[0] = "broken"
    table = table_of(values, task="regression")
    assert len(table) == 49
    assert "unreadable_cells" in [n.code for n in table.notes]


def test_whole_numbers_taken_as_amounts_or_classes_are_told():
    for values in (np.arange(100) % 6, np.arange(150) % 3):
        note = next(n for n in table_of(values).notes if n.code == "task_inferred")
        assert "task=" in note.message

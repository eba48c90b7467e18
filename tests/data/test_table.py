"""Columns and notes: what each column is taken for, and that everything decided is told."""

import numpy as np
import pandas as pd
import pytest

from wellfit.core.errors import WellfitError
from wellfit.data import describe, load_table
from wellfit.data.values import word_numbers

N = 60
RNG = np.random.default_rng(0)


def frame(**columns):
    return pd.DataFrame({"x": np.random.default_rng(1).normal(size=N), **columns,
                         "y": np.random.default_rng(2).normal(size=N)})


def column_of(values, name="c", **options):
    table = load_table(frame(**{name: values}), "y", **options)
    return next(c for c in table.columns if c.name == name), table


def codes(table):
    return [note.code for note in table.notes]


NUMBERS = RNG.normal(size=N)
DAYS = pd.date_range("2024-01-20", periods=N)


@pytest.mark.parametrize(("values", "kind"), [
    (NUMBERS, "numeric"),
    (NUMBERS.astype(str), "numeric"),
    (pd.array(RNG.integers(0, 9, N), dtype="Int64"), "numeric"),
    (np.arange(N) % 2, "numeric"),
    ([f"{i},000" for i in range(1, N + 1)], "numeric"),
    (pd.to_timedelta(np.arange(N) % 7, unit="h"), "numeric"),
    (["2024", "2023", "2022"] * 20, "numeric"),
    ([20240101 + i for i in range(N)], "numeric"),
    (np.arange(N) % 2 == 0, "boolean"),
    (["yes", "no"] * 30, "boolean"),
    (["Yes", "NO", None] * 20, "boolean"),
    (["true", "False", "?"] * 20, "boolean"),
    (["t", "f"] * 30, "boolean"),
    (pd.array([True, False, None] * 20, dtype="boolean"), "boolean"),
    (["red", "green", "blue"] * 20, "categorical"),
    (["a", "b", None] * 20, "categorical"),
    (pd.Categorical([1, 2] * 30), "categorical"),
    (["1", "2", "many"] * 20, "categorical"),
    (DAYS, "date"),
    (DAYS.tz_localize("Europe/Berlin"), "date"),
    (DAYS.strftime("%Y-%m-%d"), "date"),
    (DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"), "date"),
    (DAYS.strftime("%Y-%m-%d %H:%M"), "date"),
    (DAYS.strftime("%d.%m.%Y"), "date"),
    (DAYS.strftime("%Y/%m/%d"), "date"),
    ([d.date() for d in DAYS], "date"),
    (pd.period_range("2020-01", periods=N, freq="M"), "date"),
    (["2010-11", "2011-12", "2012-13"] * 20, "categorical"),
    (np.zeros(N), "ignored"),
    (["same"] * N, "ignored"),
    ([None] * N, "ignored"),
    (np.full(N, np.nan), "ignored"),
    ([f"user {i}" for i in range(N)], "ignored"),
    ([f"word {i % 40}" for i in range(N)], "ignored"),
    ([[1, 2]] * N, "ignored"),
    (np.ones(N) * 1j, "ignored"),
])
@pytest.mark.parametrize("dtype", [None, object])
def test_kinds(values, kind, dtype):
    series = pd.Series(values)
    typed = isinstance(series.dtype, (pd.CategoricalDtype, pd.PeriodDtype)) or series.dtype.kind in "mc"
    if dtype is object and typed:
        pytest.skip("only the type says what these are")
    column, _ = column_of(series if dtype is None else series.astype(dtype))
    assert column.kind == kind, column


@pytest.mark.parametrize("dtype", ["str", "string", object])
def test_text_types_of_every_pandas_agree(dtype):
    if dtype == "str" and pd.__version__ < "3":
        pytest.skip("str is a type of its own from pandas 3 on")
    values = pd.Series(["a", "b", None] * 20, dtype="string").astype(dtype)
    column, table = column_of(values)
    assert (column.kind, column.n_missing, column.n_unique) == ("categorical", 20, 2)
    assert list(table.frame["c"].cat.categories) == ["a", "b"]


def test_a_few_stray_texts_become_missing_with_a_warning():
    values = [str(v) for v in NUMBERS]
    values[3] = values[7] = "oops"
    values[9] = "?"
    column, table = column_of(values)
    note = next(note for note in table.notes if note.code == "unreadable_cells")
    assert column.kind == "numeric"
    assert column.n_missing == 3
    assert note.level == "warning"
    assert "2 cells" in note.message
    assert "'oops'" in note.message
    assert np.isnan(table.frame["c"][[3, 7, 9]]).all()
    assert table.frame["c"][0] == NUMBERS[0]


def test_infinities_are_missing_with_a_note():
    values = NUMBERS.copy()
    values[:2] = np.inf, -np.inf
    column, table = column_of(values)
    assert column.n_missing == 2
    assert "infinite_cells" in codes(table)
    assert np.isfinite(table.frame["c"][2:]).all()


@pytest.mark.parametrize("name", ["id", "PassengerId", "customer_id", "Unnamed: 0", "row"])
def test_row_identifiers(name):
    numbers = np.arange(N)[::-1] + 100
    column, table = column_of(numbers, name)
    assert column.kind == "ignored"
    assert "id_columns" in codes(table)
    assert name not in table.frame
    assert next(note for note in table.notes if note.code == "id_columns").level == "warning"
    assert column_of(numbers, name, id_policy="keep")[0].kind == "numeric"


def test_text_identifiers_can_be_kept():
    texts = [f"user {i}" for i in range(N)]
    assert "id_columns" in codes(column_of(texts)[1])
    assert column_of(texts, id_policy="keep")[0].kind == "categorical"
    with pytest.raises(WellfitError, match="id_policy"):
        column_of(texts, id_policy="maybe")


def test_a_row_counter_without_an_id_name_is_kept_with_a_warning():
    column, table = column_of(np.arange(N) + 5, "t")
    assert column.kind == "numeric"
    assert "row_counter" in codes(table)


def test_repeated_ids_suggest_a_group():
    _, table = column_of(np.arange(N) // 3, "patient_id")
    assert "maybe_group" in codes(table)
    _, table = column_of([f"p{i // 3}" for i in range(N)], "patient_id")
    assert "maybe_group" in codes(table)


def test_copies_are_ignored_and_name_their_original():
    table = load_table(frame(a=NUMBERS, b=NUMBERS, k=["u", "v"] * 30, m=["u", "v"] * 30, w=["v", "w"] * 30), "y")
    reasons = {c.name: c.reason for c in table.columns if c.kind == "ignored"}
    assert reasons == {"b": "same values as 'a'", "m": "same values as 'k'"}
    assert "duplicate_columns" in codes(table)


def test_ambiguous_days_and_months_are_told():
    _, table = column_of([f"0{1 + i % 9}/0{1 + i % 7}/2024" for i in range(N)])
    assert "ambiguous_dates" in codes(table)
    column, table = column_of(DAYS.strftime("%d/%m/%Y"))
    assert column.format == "%d/%m/%Y"
    assert "ambiguous_dates" not in codes(table)
    assert table.frame["c"].iloc[0] == pd.Timestamp("2024-01-20")


def test_unknown_target_suggests_the_nearest_and_lists_columns():
    with pytest.raises(WellfitError, match=r"(?s)'income'.*'x', 'incomes', 'y'.*did you mean 'incomes'"):
        load_table(frame(incomes=NUMBERS), "income")


def test_a_name_that_differs_in_case_works_with_a_warning():
    table = load_table(frame(Y=NUMBERS), "y")
    note = next(note for note in table.notes if note.code == "target_lookalike")
    assert note.level == "warning"
    assert "drop=['Y']" in note.message
    assert list(table.frame) == ["x", "Y"]
    with pytest.raises(WellfitError, match="did you mean 'x'"):
        load_table(frame(), "X")


def test_drop_group_and_time_are_no_features():
    data = frame(g=np.arange(N) // 3, t=DAYS, u=NUMBERS)
    table = load_table(data, "y", group="g", time="t", drop=["u"])
    assert list(table.frame) == ["x"]
    assert len(set(table.groups)) == 20
    assert (np.diff(table.times) > 0).all()
    assert {c.name: c.reason for c in table.columns}["g"] == "the group column"
    assert list(load_table(data, "y", drop="u").frame) == ["x", "g", "t"]


@pytest.mark.parametrize(("options", "message"), [
    ({"drop": ["z"]}, "column to drop"), ({"drop": ["y"]}, "cannot be dropped"), ({"group": "z"}, "no group column"),
    ({"time": "z"}, "no time column"), ({"group": "y"}, "also be the group"), ({"time": "y"}, "also be the time"),
    ({"group": "x", "time": "x"}, "also be the time"), ({"task": "regresion"}, "did you mean 'regression'"),
    ({"time": "word"}, "neither numbers nor dates"), ({"time": "hole"}, "missing values"),
    ({"group": "two"}, "Too few groups")])
def test_wrong_roles(options, message):
    hole = NUMBERS.copy()
    hole[0] = np.nan
    with pytest.raises(WellfitError, match=message):
        load_table(frame(word=["a", "b"] * 30, hole=hole, two=np.arange(N) % 2), "y", **options)


def test_rows_without_a_group_stand_alone():
    groups = [None if i < 4 else f"g{i // 10}" for i in range(N)]
    table = load_table(frame(g=groups), "y", group="g")
    assert len(set(table.groups)) == 4 + 6
    assert "group_missing" in codes(table)


@pytest.mark.parametrize("rows", [1, 9])
def test_too_few_rows(rows):
    with pytest.raises(WellfitError, match="too small"):
        load_table(frame().iloc[:rows], "y")
    data = frame()
    data.loc[rows:, "y"] = np.nan
    with pytest.raises(WellfitError, match=r"too small|single class"):
        load_table(data, "y")


@pytest.mark.parametrize("data", [pd.DataFrame({"y": NUMBERS}), pd.DataFrame({"c": np.ones(N), "y": NUMBERS})])
def test_nothing_to_predict_from(data):
    with pytest.raises(WellfitError, match="No column is left"):
        load_table(data, "y")


def test_a_test_table_is_appended_with_the_same_types(tmp_path):
    data = frame(c=["1", "2", "many"] * 20, d=DAYS.strftime("%Y-%m-%d"), n=[str(v) for v in NUMBERS])
    other = data.iloc[:12].assign(c="7", extra=1)[["y", "n", "c", "d", "x", "extra"]]
    other.loc[0, "n"] = "odd"
    other.to_csv(tmp_path / "test.csv", index=False)
    table = load_table(data, "y", test=tmp_path / "test.csv")
    assert len(table) == N + 12
    assert table.test_index.tolist() == list(range(N, N + 12))
    assert table.frame["c"].iloc[-1] == "7"
    assert table.frame["d"].iloc[-1] == DAYS[11]
    assert np.isnan(table.frame["n"].iloc[N])
    assert table.y[N + 1] == pytest.approx(data["y"][1])
    assert any("Test table" in note.message for note in table.notes)


def test_a_test_table_must_fit():
    data = frame(k=["u", "v", "w"] * 20)
    with pytest.raises(WellfitError, match="did you mean 'X'"):
        load_table(data, "y", test=data.rename(columns={"x": "X"}))
    with pytest.raises(WellfitError, match="lacks columns that are needed"):
        load_table(data, "y", test=data.drop(columns="y"))
    with pytest.raises(WellfitError, match="classes that never occur"):
        load_table(data, "k", test=data.assign(k="strange"))
    shared = load_table(data.assign(g=np.arange(N) // 5), "y", group="g", test=data.iloc[:10].assign(g=0))
    assert "group_in_test" in codes(shared)


def test_describe_and_repr_are_short():
    table = load_table(frame(k=["u", "v"] * 30), "k")
    rows = describe(table)
    assert [row["column"] for row in rows] == ["k", "x", "y"]
    assert rows[0]["kind"] == "target (binary)"
    assert all(isinstance(value, str) for row in rows for value in row.values())
    assert repr(table) == "Table('table', 60 rows, 2 features, target 'k', binary with 2 classes)"


def test_fingerprint_knows_content_and_nothing_else(tmp_path):
    data = frame(k=["u", None, "w"] * 20, b=np.arange(N) % 2 == 0, i=np.arange(N) % 5)
    data.to_csv(tmp_path / "t.csv", index=False)
    one, two = load_table(data, "y").fingerprint, load_table(tmp_path / "t.csv", "y").fingerprint
    assert one == two
    assert one["rows"] == N
    assert one["columns"] == ["x", "k", "b", "i"]
    assert one["classes"] is None
    seen = {one["sha256"]}
    changed = data.copy()
    changed.loc[5, "x"] += 1e-12
    for other in (changed, data.rename(columns={"x": "z"}), data.iloc[::-1], data.assign(k=data["k"].fillna("u"))):
        seen.add(load_table(other, "y").fingerprint["sha256"])
    assert len(seen) == 5


@pytest.mark.parametrize(("cells", "numbers"), [
    (["$1,234.50", "-$3", "$-4.5", "$0"], [1234.5, -3.0, -4.5, 0.0]),
    (["12 €", "€ 7", "1,000 €", "-1€"], [12.0, 7.0, 1000.0, -1.0]),
    (["45%", "4.5 %", "+5%", "-0.25%"], [45.0, 4.5, 5.0, -0.25]),
])
def test_prices_and_percentages_are_numbers(cells, numbers):
    column, table = column_of(cells * (N // 4))
    assert column.kind == "numeric"
    assert table.frame["c"].tolist() == numbers * (N // 4)


@pytest.mark.parametrize("word", ["$", "%", "--3", "1,2$", "$-", "3m", "-$-3", "1 2%", "USD 3"])
def test_what_only_looks_like_a_price_is_none(word):
    values, bad = word_numbers([word])
    assert np.isnan(values[0])
    assert bad[0]

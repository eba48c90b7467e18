"""From columns to numbers: known values, exact round trips, and frames that are not quite as in training."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.data import Preprocessor, load_table, read_frame
from wellfit.data.encode import bin_edges, smooth_clip

N = 80


def mixed(seed=0):
    rng = np.random.default_rng(seed)
    days = pd.date_range("2023-11-05 06:00", periods=N, freq="31h")
    return pd.DataFrame({
        "size": rng.normal(50, 10, N), "holes": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)),
        "count": rng.integers(0, 4, N), "colour": rng.choice(["red", "green", "blue", None], N),
        "sex": rng.choice(["F", "M"], N), "member": rng.choice(["yes", "no"], N),
        "when": days.strftime("%Y-%m-%d %H:%M"),
        "y": rng.choice(["a", "b"], N)})


def fitted(frame, rows=None, **options):
    table = load_table(frame, "y")
    return Preprocessor.fit(table, np.arange(len(table)) if rows is None else rows, **options), table


def numeric(values, **options):
    frame = pd.DataFrame({"x": values, "y": np.arange(len(values)) % 2})
    preprocessor, table = fitted(frame, **options)
    return preprocessor, preprocessor.transform(table.frame)


def column(preprocessor, matrix, name):
    return matrix[:, preprocessor.names.index(name)]


def test_robust_scaling_by_hand():
    x = np.arange(21.0) ** 2
    _, out = numeric(x)
    median, spread = np.median(x), np.quantile(x, 0.75) - np.quantile(x, 0.25)
    z = (x - median) / spread
    np.testing.assert_allclose(out[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)


def test_zero_inter_quartile_range_falls_back_to_half_the_range():
    x = np.array([5.0] * 18 + [1.0, 9.0])
    _, out = numeric(x)
    np.testing.assert_allclose(np.unique(out), smooth_clip(np.array([-1.0, 0.0, 1.0])), rtol=1e-6)


def test_standard_scaling():
    x = np.random.default_rng(0).normal(5, 3, 50)
    _, out = numeric(x, scaling="standard")
    np.testing.assert_allclose(out[:, 0], (x - x.mean()) / x.std(), rtol=1e-5, atol=1e-6)


def test_missing_numbers_get_the_median_and_an_indicator():
    x = np.array([1.0, 2.0, 3.0, 4.0, np.nan] * 5)
    preprocessor, out = numeric(x)
    assert preprocessor.names == ("x", "x (missing)")
    assert preprocessor.groups.tolist() == [0, 0]
    assert out[4].tolist() == [0.0, 1.0]
    assert out[0, 1] == 0.0
    complete, _ = numeric(np.arange(25.0))
    assert complete.transform(pd.DataFrame({"x": [np.nan, 12.0]})).tolist() == [[0.0], [0.0]]


def test_one_indicator_for_columns_missing_together():
    a = np.array([1.0, 2.0, 3.0, 4.0, np.nan] * 5)
    frame = pd.DataFrame({"a": a, "b": a ** 2, "c": a[::-1], "y": np.arange(25) % 2})
    assert fitted(frame)[0].names == ("a", "a (missing)", "b", "c", "c (missing)")


def test_values_are_always_finite_and_float32():
    x = np.array([1e308, -1e308, np.inf, 1e-320, 0.0] * 5)
    for options in ({}, {"scaling": "standard"}, {"encoding": "piecewise"}):
        preprocessor, out = numeric(x, **options)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert np.isfinite(preprocessor.transform(pd.DataFrame({"x": [1e300, -np.inf, np.nan]}))).all()


def test_piecewise_bins_by_hand():
    x = np.arange(33.0)
    preprocessor, out = numeric(x, encoding="piecewise", n_bins=4)
    assert preprocessor.names == ("x", "x (bin 1)", "x (bin 2)", "x (bin 3)", "x (bin 4)")
    raw = np.clip((x[:, None] - np.array([0, 8, 16, 24])) / 8, 0, 1)
    expected = smooth_clip((raw - raw.mean(axis=0)) / raw.std(axis=0))
    np.testing.assert_allclose(out[:, 1:], expected, rtol=1e-5, atol=1e-6)
    plain, _ = numeric(x)
    np.testing.assert_array_equal(plain.transform(pd.DataFrame({"x": x}))[:, 0], out[:, 0])
    far = preprocessor.transform(pd.DataFrame({"x": [-1e9, 0.0, 32.0, 1e9]}))[:, 1:]
    assert (far[0] == far[1]).all()
    assert (far[2] == far[3]).all()


def test_a_frequent_value_is_an_edge_and_leaves_the_bins_to_the_others():
    x = np.concatenate([np.zeros(50), np.arange(1.0, 21.0)])
    preprocessor, out = numeric(x, encoding="piecewise", n_bins=8)
    assert len(preprocessor.names) == 1 + 8
    assert len(np.unique(out[50:, 1:], axis=0)) == 20  # where quantiles of all rows would have three bins
    assert np.unique(np.diff(bin_edges(np.sort(np.concatenate([x, np.full(40, 7.5)])), 8)) > 0).tolist() == [True]
    assert 7.5 in bin_edges(np.sort(np.concatenate([x, np.full(40, 7.5)])), 8)
    assert numeric(np.arange(40.0) % 8, encoding="piecewise", n_bins=8)[0].names == ("x",)


def test_a_column_with_too_few_values_for_fine_bins_gets_coarse_ones():
    frame = pd.DataFrame({"many": np.arange(400.0), "some": np.arange(400) % 20, "few": np.arange(400) % 5,
                          "y": np.arange(400) % 2})
    table = load_table(frame, "y")
    names = Preprocessor.fit(table, np.arange(400), encoding="fine").names
    assert [sum(n.startswith(f"{c} (bin") for n in names) for c in ("many", "some", "few")] == [48, 8, 0]
    assert len(Preprocessor.fit(table, np.arange(400), encoding="fine", n_bins=24).names) == 3 + 24 + 8


def test_binary_categories_and_flags_are_one_signed_column():
    preprocessor, table = fitted(mixed())
    out, frame = preprocessor.transform(table.frame), mixed()
    assert (column(preprocessor, out, "sex=M") == np.where(frame["sex"] == "M", 1, -1)).all()
    assert (column(preprocessor, out, "member") == np.where(frame["member"] == "yes", 1, -1)).all()


def test_missing_category_is_a_category():
    preprocessor, table = fitted(mixed())
    out = preprocessor.transform(table.frame)
    places = [i for i, name in enumerate(preprocessor.names) if name.startswith("colour")]
    assert [preprocessor.names[i] for i in places] == [
        "colour=blue", "colour=green", "colour=red", "colour=(missing)"]
    assert (out[:, places].sum(axis=1) == 1).all()
    assert (out[:, places[3]] == mixed()["colour"].isna()).all()


def test_rare_categories_share_one_column():
    texts = ["a"] * 20 + ["b"] * 15 + ["c"] * 10 + ["d", "e", "e", "f"]
    frame = pd.DataFrame({"c": texts, "y": np.arange(len(texts)) % 2})
    preprocessor, table = fitted(frame, max_categories=3)
    assert preprocessor.names == ("c=a", "c=b", "c=c", "c=(other)")
    assert preprocessor.transform(table.frame)[-4:].tolist() == [[0, 0, 0, 1]] * 4
    assert preprocessor.transform(pd.DataFrame({"c": ["new", "A", None]})).tolist() == [
        [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]]
    whole, _ = fitted(frame)
    assert whole.transform(pd.DataFrame({"c": ["new", None, "a"]})).sum(axis=1).tolist() == [0, 0, 1]


def test_unseen_values_of_a_two_category_column_are_zero():
    preprocessor, _ = fitted(pd.DataFrame({"s": ["F", "M"] * 20, "y": [0, 1, 1, 0] * 10}))
    assert preprocessor.transform(pd.DataFrame({"s": ["F", "M", "X", None]}))[:, 0].tolist() == [-1, 1, 0, 0]


def test_missing_flags():
    frame = pd.DataFrame({"f": [True, False, None, True] * 10, "y": [0, 1] * 20})
    preprocessor, table = fitted(frame)
    assert preprocessor.names == ("f", "f (missing)")
    assert preprocessor.transform(table.frame)[:3].tolist() == [[1, 0], [-1, 0], [0, 1]]
    assert preprocessor.transform(pd.DataFrame({"f": ["YES", "0", "f", "?"]}))[:, 0].tolist() == [1, -1, -1, 0]


def test_dates():
    preprocessor, table = fitted(mixed())
    out = preprocessor.transform(table.frame)
    names = [name for name in preprocessor.names if name.startswith("when")]
    assert names == ["when", *(f"when ({p} {w})" for p in ("month", "weekday", "hour") for w in ("sin", "cos"))]
    when = pd.to_datetime(mixed()["when"])
    assert (np.diff(column(preprocessor, out, "when")) > 0).all()
    for part, turn in (("month", (when.dt.month - 1) / 12), ("weekday", when.dt.day_of_week / 7),
                       ("hour", (when.dt.hour + when.dt.minute / 60) / 24)):
        for wave, function in (("sin", np.sin), ("cos", np.cos)):
            np.testing.assert_allclose(column(preprocessor, out, f"when ({part} {wave})"), function(2 * np.pi * turn),
                                       atol=1e-6)
    day_only, _ = fitted(mixed().assign(when=when.dt.strftime("%Y-%m-%d")))
    assert not any("hour" in name for name in day_only.names)
    odd = mixed().iloc[:2].assign(when=["2024-05-01", "someday"])
    with pytest.warns(WellfitWarning, match="'when': 1 cell such as 'someday'"):
        row = preprocessor.transform(odd)[1]
    assert row[preprocessor.names.index("when")] == pytest.approx(0, abs=1e-6)
    assert row[preprocessor.names.index("when (month cos)")] == 0


def test_groups_and_names_follow_the_table():
    for encoding in ("plain", "piecewise"):
        preprocessor, table = fitted(mixed(), encoding=encoding)
        assert preprocessor.group_names == tuple(table.frame.columns)
        assert (np.diff(preprocessor.groups) >= 0).all()
        assert len(set(preprocessor.names)) == len(preprocessor.names) == len(preprocessor.groups)
        for name, group in zip(preprocessor.names, preprocessor.groups, strict=True):
            assert name.startswith(preprocessor.group_names[group])


def test_columns_constant_on_the_fitted_rows_are_left_out():
    frame = mixed()
    frame.loc[:39, "count"], frame.loc[:39, "sex"] = 1, "F"
    preprocessor, _ = fitted(frame, rows=np.arange(40))
    assert "count" not in preprocessor.group_names
    assert "sex" not in preprocessor.group_names
    out = preprocessor.transform(frame.iloc[:40])
    assert (out.max(axis=0) > out.min(axis=0)).all()
    assert out.shape[1] == len(preprocessor.names)
    with pytest.raises(WellfitError, match="No column varies"):
        fitted(frame[["count", "sex", "y"]], rows=np.arange(40))


@pytest.mark.parametrize("options", [{}, {"encoding": "piecewise"}, {"scaling": "standard", "max_categories": 2}])
def test_json_round_trip_is_exact(tmp_path, options):
    preprocessor, _ = fitted(mixed(), rows=np.arange(50), **options)
    text = json.dumps(preprocessor.to_dict(), allow_nan=False)
    preprocessor.save(tmp_path / "p.json")
    for again in (Preprocessor.from_dict(json.loads(text)), Preprocessor.load(tmp_path / "p.json")):
        assert json.dumps(again.to_dict()) == text
        assert again.names == preprocessor.names
        assert again.group_names == preprocessor.group_names
        assert (again.groups == preprocessor.groups).all()
        assert again.transform(mixed(1)).tobytes() == preprocessor.transform(mixed(1)).tobytes()


def test_broken_saves(tmp_path):
    good = fitted(mixed())[0].to_dict()
    for bad, message in (({}, "no saved preprocessing"), (good | {"format": 2}, "unknown format"),
                         ({k: v for k, v in good.items() if k != "numbers"}, "damaged"),
                         (good | {"outputs": [9999]}, "damaged"),
                         (good | {"encoders": {"sex": {"type": "os.system"}}}, "damaged")):
        with pytest.raises(WellfitError, match=message):
            Preprocessor.from_dict(bad)
    (tmp_path / "p.json").write_text("{")
    for path in (tmp_path / "p.json", tmp_path / "none.json"):
        with pytest.raises(WellfitError, match="cannot be read"):
            Preprocessor.load(path)


def test_raw_and_typed_frames_give_the_same_numbers(tmp_path):
    preprocessor, table = fitted(mixed(), encoding="piecewise")
    expected = preprocessor.transform(table.frame)
    mixed().to_csv(tmp_path / "t.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frame in (mixed(), read_frame(tmp_path / "t.csv"), mixed().astype(object),
                      mixed().assign(extra=1)[list(mixed().columns[::-1]) + ["extra"]], mixed().iloc[::1]):
            assert preprocessor.transform(frame).tobytes() == expected.tobytes()
    shuffled = mixed().sample(frac=1, random_state=0)
    assert (preprocessor.transform(shuffled) == expected[shuffled.index]).all()
    assert preprocessor.transform(mixed().iloc[:0]).shape == (0, expected.shape[1])


def test_rows_in_pieces_give_the_same_numbers(monkeypatch):
    preprocessor, table = fitted(mixed())
    expected = preprocessor.transform(table.frame)
    monkeypatch.setattr("wellfit.data.preprocess.CHUNK_CELLS", 7 * (expected.shape[1] + 1))
    assert preprocessor.transform(table.frame).tobytes() == expected.tobytes()


def test_missing_columns_are_named_with_the_nearest():
    preprocessor, _ = fitted(mixed())
    with pytest.raises(WellfitError, match=r"(?s)missing 'size', 'sex'.*did you mean 'Size' for 'size'"):
        preprocessor.transform(mixed().rename(columns={"size": "Size"}).drop(columns="sex"))
    with pytest.raises(WellfitError, match="data frame"):
        preprocessor.transform(np.zeros((3, 3)))


def test_text_where_numbers_were_meant_is_missing_and_counted():
    preprocessor, _ = fitted(mixed())
    frame = mixed().astype({"size": object})
    frame.loc[[0, 1], "size"] = ["tall", "?"]
    with pytest.warns(WellfitWarning, match="'size': 1 cell such as 'tall'"):
        out = preprocessor.transform(frame)
    assert column(preprocessor, out, "size")[:2].tolist() == pytest.approx([0, 0], abs=0.1)


@pytest.mark.parametrize("series", [pd.Series([1, 2, 3]), pd.Series([1.0, 2.0, np.nan]),
                                    pd.Series([True, False, True]), pd.Series(pd.Categorical(["1", "2", "?"])),
                                    pd.Series(["1", "2", None], dtype="string")])
def test_categories_read_as_another_type(series):
    frame = pd.DataFrame({"c": ["1", "2", "many", "TRUE"] * 10, "y": np.arange(40) % 2})
    preprocessor, _ = fitted(frame)
    assert preprocessor.text_columns == ("c",)
    out = preprocessor.transform(pd.DataFrame({"c": series}))
    names = ["c=TRUE"] if series.dtype == bool else ["c=1", "c=2"]
    assert [column(preprocessor, out, name)[i] for i, name in enumerate(names)] == [1] * len(names)


@pytest.mark.parametrize("options", [{"encoding": "fancy"}, {"scaling": "none"}, {"max_categories": 0}, {"n_bins": 1},
                                     {"rows": []}])
def test_wrong_options(options):
    with pytest.raises(WellfitError):
        fitted(mixed(), **options)


def test_a_wide_table_is_quick():
    import time
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2000))).assign(y=np.arange(60) % 2)
    table = load_table(frame, "y")
    start = time.perf_counter()
    assert Preprocessor.fit(table, np.arange(40)).transform(table.frame).shape == (60, 2000)
    assert time.perf_counter() - start < 5

"""``wellfit predict``: rows in order, columns by name."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli.conftest import iris
from cli.test_bad_input import assert_refused

CLASSES = ["setosa", "versicolor", "virginica"]


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_one_line_per_row_in_the_order_of_the_input(wellfit: Callable, run: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    done = wellfit("predict", run, table, "--out", out)
    assert (done.status, done.out) == (0, "")
    assert "150 predictions" in done.err
    predicted = pd.read_csv(out)
    assert list(predicted.columns) == ["prediction", *(f"p_{c}" for c in CLASSES)]
    assert len(predicted) == 150
    p = predicted.iloc[:, 1:].to_numpy()
    assert np.allclose(p.sum(axis=1), 1, atol=1e-6)
    assert [CLASSES[c] for c in p.argmax(axis=1)] == list(predicted["prediction"])
    backwards = tmp_path / "backwards.csv"
    iris().iloc[::-1].to_csv(backwards, index=False)
    again = read(wellfit("predict", run, backwards).out)
    pd.testing.assert_frame_equal(again.iloc[::-1].reset_index(drop=True), predicted)


def test_reordered_extra_and_target_columns_make_no_difference(wellfit: Callable, run: Path, table: Path, tmp_path: Path) -> None:
    expected = wellfit("predict", run, table).out
    new = tmp_path / "new.csv"
    frame = iris().drop(columns="target")
    frame[list(frame.columns[::-1])].assign(comment="hm", row=range(150)).to_csv(new, index=False, sep=";")
    assert wellfit("predict", run, new).out == expected
    frame.to_parquet(tmp_path / "new.parquet")
    assert wellfit("predict", run, tmp_path / "new.parquet").out == expected


def test_a_missing_column_is_named(wellfit: Callable, run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    iris().drop(columns="petal width").rename(columns={"colour": "color"}).to_csv(new, index=False)
    out = tmp_path / "predictions.csv"
    out.write_text("earlier")
    assert_refused(wellfit("predict", run, new, "--out", out), "'petal width'", "'colour'", "'color' for 'colour'")
    assert out.read_text() == "earlier"


def test_unseen_categories_missing_cells_and_text(wellfit: Callable, run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    frame = iris().head(5).astype({"sepal width": object})
    frame["colour"] = ["purple", "red", "", None, "blue"]
    frame.loc[2, "sepal width"] = "wide"
    frame.loc[3, "petal length"] = None
    frame.to_csv(new, index=False)
    done = wellfit("predict", run, new)
    assert done.status == 0
    assert len(read(done.out)) == 5
    assert read(done.out).notna().all().all()
    assert "warning" in done.err
    assert "'wide'" in done.err


@pytest.mark.parametrize("rows", [1, 2])
def test_a_few_rows(wellfit: Callable, run: Path, table: Path, tmp_path: Path, rows: int) -> None:
    new = tmp_path / "new.csv"
    iris().head(rows).to_csv(new, index=False)
    expected = read(wellfit("predict", run, table).out).head(rows)
    pd.testing.assert_frame_equal(read(wellfit("predict", run, new).out), expected, rtol=1e-5)


def test_the_ensemble(wellfit: Callable, run: Path, table: Path) -> None:
    members = json.loads((run / "summary.json").read_text())["ensemble"]["members"]
    done = wellfit("predict", run, table, "--model", "ensemble")
    if members > 1:
        assert done.status == 0
        assert len(read(done.out)) == 150
    else:
        assert_refused(done)
    assert_refused(wellfit("predict", run, table, "--model", "beast"), "best or ensemble")


def test_json(wellfit: Callable, run: Path, table: Path, tmp_path: Path) -> None:
    rows = json.loads(wellfit("predict", run, table, "--json").out)
    expected = read(wellfit("predict", run, table).out)
    assert [row["prediction"] for row in rows] == list(expected["prediction"])
    assert np.allclose([row["p_setosa"] for row in rows], expected["p_setosa"])
    out = tmp_path / "predictions.csv.gz"
    said = json.loads(wellfit("predict", run, table, "--json", "--out", out).out)
    assert (said["rows"], said["out"], said["model"]) == (150, str(out), "best")
    pd.testing.assert_frame_equal(read(gzip.decompress(out.read_bytes()).decode()), expected)


def test_outputs_that_would_do_harm_are_refused(wellfit: Callable, run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    iris().to_csv(new, index=False)
    content = new.read_bytes()
    summary = (run / "summary.json").read_bytes()
    for out, words in ((new, "overwrite"), (run / "summary.json", "overwrite"), (tmp_path, "folder"),
                       (tmp_path / "p.parquet", "csv"), (tmp_path / "no" / "p.csv", "does not exist")):
        assert_refused(wellfit("predict", run, new, "--out", out), words)
    assert new.read_bytes() == content
    assert (run / "summary.json").read_bytes() == summary
    assert_refused(wellfit("predict", run, tmp_path / "nwe.csv"), "new.csv")

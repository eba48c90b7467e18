"""Every kind of bad input: one clear message and status 2, or it just works. Nothing written is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli.conftest import QUICK, iris

Change = Callable[[pd.DataFrame], pd.DataFrame]


def assert_refused(done: object, *words: str) -> None:
    """Status 2, nothing on stdout, one message with what, received or expected, and these words."""
    assert done.status == 2, done  # type: ignore[attr-defined]
    assert done.out == ""  # type: ignore[attr-defined]
    text = done.err  # type: ignore[attr-defined]
    assert "Traceback" not in text
    assert text.count("error: ") == 1
    assert text.startswith("error: ")
    assert "  received: " in text or "  expected: " in text
    for word in words:
        assert word in text, text


# ----------------------------------------------------------------------------------------------------- refused tables

REFUSED: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("empty",)),
    "blank": (b" \n\n ", ("empty",)),
    "only a header": (b"a,b,target\n", ("no rows",)),
    "a single row": (b"a,b,target\n1,2,x\n", ("too small", "1 row")),
    "few rows": (b"a,b,target\n" + b"1,2,x\n2,3,y\n" * 3, ("too small", "6 rows")),
    "repeated columns": (b"a,a,target\n" + b"1,2,x\n2,3,y\n" * 20, ("same name", "'a'")),
    "one class": (b"a,b,target\n" + b"1,2,x\n2,3,x\n" * 20, ("single class",)),
    "a class with one row": (b"a,b,target\n" + b"1,2,x\n2,3,y\n" * 20 + b"1,1,z\n", ("single row", "'z'")),
    "no target values": (b"a,b,target\n" + b"1,2,\n2,3,\n" * 20, ("missing in every row",)),
    "constant columns": (b"a,b,target\n" + b"1,2,x\n1,2,y\n" * 20, ("No column is left", "only one value")),
    "all missing": (b"a,b,target\n" + b",,x\n,,y\n" * 20, ("No column is left", "missing")),
    "one column": (b"target\n" + b"x\ny\n" * 20, ("No column is left",)),
    "more fields than names": (b"a,target\n" + b"1,x,3\n2,y,4\n" * 20, ("more fields",)),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 20, ("not text",)),
    "a workbook": (b"PK\x03\x04" + b"\0" * 50, ("Excel",)),
    "a torn gzip": (b"\x1f\x8b\x08\0abc", ("unpacked",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_cannot_be_used_is_refused(wellfit: Callable, name: str, tmp_path: Path) -> None:
    content, words = REFUSED[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    done = wellfit("tune", path, "--target", "target", "--out", tmp_path / "run", *QUICK)
    assert_refused(done, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv"]


# ---------------------------------------------------------------------------------------------------- refused options

OPTIONS: list[tuple[list[str], tuple[str, ...]]] = [
    (["--target", "tagret"], ("no target column 'tagret'", "did you mean 'target'")),
    (["--target", "Target"], ("no target column 'Target'", "did you mean 'target'")),
    (["--budget", "0"], ("budget", "more than 0")),
    (["--budget", "0c"], ("budget",)),
    (["--budget", "-3m"], ("budget", "'-3m'")),
    (["--budget", "a while"], ("budget", "90s, 5m, 1h")),
    (["--task", "regression"], ("not numeric", "'setosa'", "--task classification")),
    (["--task", "regresion"], ("did you mean 'regression'",)),
    (["--task", "binary"], ("exactly two classes", "3 classes")),
    (["--metric", "rmse"], ("metric", "balanced_accuracy")),
    (["--class-weights", "equal"], ("balanced or none",)),
    (["--group", "patient"], ("no group column 'patient'",)),
    (["--group", "target"], ("target cannot",)),
    (["--time", "colour"], ("neither numbers nor dates",)),
    (["--drop", "color"], ("to drop does not exist", "'colour'")),
    (["--drop", "target"], ("cannot be dropped",)),
    (["--test", "elsewhere.csv"], ("no such file", "elsewhere.csv")),
    (["--regularizers", "dropot"], ("Unknown regularizer", "did you mean dropout")),
    (["--regularizers", ","], ("--regularizers",)),
    (["--regularizers", "skip_connections", "--hidden", "8,4"], ("skip_connections",)),
    (["--hidden", "128,wide"], ("--hidden", "'128,wide'")),
    (["--hidden", "0"], ("--hidden",)),
    (["--activation", "rleu"], ("activation", "relu")),
    (["--epochs", "0"], ("epochs",)),
    (["--batch-size", "1"], ("batch_size",)),
    (["--folds", "0"], ("folds",)),
    (["--folds", "1000"], ("folds",)),
    (["--encoding", "pice-wise"], ("encoding", "piecewise")),
    (["--workers", "0"], ("process",)),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=[" ".join(o) for o, _ in OPTIONS])
def test_a_wrong_option_is_refused_before_anything_is_written(wellfit: Callable, table: Path, tmp_path: Path, options: list[str],
                                                              words: tuple[str, ...]) -> None:
    done = wellfit("tune", table, "--target", "target", "--out", tmp_path / "run", *QUICK, *options)
    assert_refused(done, *words)
    assert list(tmp_path.iterdir()) == []


def test_without_a_table_or_a_target_an_example_is_given(wellfit: Callable, table: Path) -> None:
    assert_refused(wellfit("tune"), "wellfit tune data.csv --target price")
    assert_refused(wellfit("tune", table), "sepal length", "--target")
    assert_refused(wellfit("tune", table.with_name("iri.csv"), "--target", "x"), "no such file", "iris.csv")
    assert_refused(wellfit("tune", table.parent, "--target", "x"), "folder")


# ------------------------------------------------------------------------------------------------------ output folders


def test_an_output_that_is_not_ours_is_left_alone(wellfit: Callable, table: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "run"):
        for more in ([], ["--overwrite"]):
            assert_refused(wellfit("tune", table, "--target", "target", "--out", out, *QUICK, *more), str(out))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_run_is_not_overwritten_unless_asked(wellfit: Callable, table: Path, run: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert_refused(wellfit("tune", table, "--target", "target", "--out", run, *QUICK), "--resume", "--overwrite")
    assert_refused(wellfit("tune", table, "--target", "tagret", "--out", run, "--overwrite", *QUICK), "tagret")
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("command", [["tune", "--resume"], ["predict"], ["report"]], ids=lambda c: c[0])
@pytest.mark.parametrize("kind", ["nowhere", "folder", "file"])
def test_what_is_no_run_is_refused(wellfit: Callable, table: Path, tmp_path: Path, command: list[str], kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("text")
    done = wellfit(*command, path, *([table] if command == ["predict"] else []))
    assert_refused(done, str(path))


def test_resuming_takes_no_other_settings(wellfit: Callable, table: Path, run: Path) -> None:
    assert_refused(wellfit("tune", "--resume", run, "--budget", "5m"), "--budget")
    assert_refused(wellfit("tune", table, "--resume", run), "A resumed run")


def test_a_damaged_run_is_named(wellfit: Callable, table: Path, run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "best" / "model.safetensors").write_bytes(b"\0" * 100)
    assert_refused(wellfit("predict", copy, table), "model.safetensors")
    (copy / "best" / "preprocess.json").write_text("{}")
    assert_refused(wellfit("predict", copy, table), "damaged")
    (copy / "best" / "preprocess.json").unlink()
    assert_refused(wellfit("predict", copy, table), "--resume")
    (copy / "summary.json").write_text("[")
    assert_refused(wellfit("report", copy), "summary.json")


# ---------------------------------------------------------------------------------------------------------- just works


def with_text(frame: pd.DataFrame) -> pd.DataFrame:
    changed = frame.astype({"sepal length": object})
    changed.loc[[3, 70], "sepal length"] = ["n/k", "broken"]
    return changed


WORKS: dict[str, tuple[Change, dict[str, object], tuple[str, ...]]] = {
    "infinities": (lambda f: f.assign(**{"sepal width": f["sepal width"].where(f.index != 5, np.inf)}), {}, ("infinite",)),
    "text among numbers": (with_text, {}, ("'broken'", "taken as missing")),
    "an all-missing column": (lambda f: f.assign(nothing=np.nan), {}, ("'nothing'",)),
    "a column named like the target": (lambda f: f.assign(Target=f["petal width"] * 2), {},
                                       ("'Target'", "differs from the target")),
    "latin-1": (lambda f: f.assign(colour=["weiß", "grün", "rot"] * 50), {"encoding": "latin-1"}, ("not UTF-8",)),
    "semicolons and decimal commas": (lambda f: f, {"sep": ";", "decimal": ","}, ("decimal comma",)),
    "tabs": (lambda f: f, {"sep": "\t"}, ()),
    "a byte-order mark": (lambda f: f, {"encoding": "utf-8-sig"}, ()),
    "missing cells": (lambda f: f.mask(np.random.default_rng(0).random(f.shape) < 0.1), {}, ("left out because the target",)),
    "a constant column": (lambda f: f.assign(one=1), {}, ("'one'",)),
    "a copied column": (lambda f: f.assign(again=f["petal width"]), {}, ("copies",)),
    "an id column": (lambda f: f.assign(id=np.random.default_rng(0).permutation(len(f)) + 1000), {}, ("identifiers",)),
}


@pytest.mark.parametrize("name", WORKS)
def test_a_messy_table_just_works(wellfit: Callable, name: str, tmp_path: Path) -> None:
    change, options, words = WORKS[name]
    path = tmp_path / "table.csv"
    change(iris()).to_csv(path, index=False, **options)  # type: ignore[call-overload]
    done = wellfit("tune", path, "--target", "target", "--out", tmp_path / "run", *QUICK[2:], "--budget", "2c")
    assert done.status == 0, done.err
    shown = " ".join(done.err.split())
    for word in words:
        assert word in shown
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    predicted = wellfit("predict", tmp_path / "run", path)
    assert predicted.status == 0
    assert len(predicted.out.splitlines()) == 151


@pytest.mark.parametrize("recipe", ["regularizers:\n- name: dropot\n", "regularizers:\n- {name: dropout, rate: 1.5}\n",
                                    "regularizers:\n- {name: dropout, rat: 0.5}\n", "- 1\n", "a: [\n"])
def test_a_wrong_recipe_is_refused(recipe: str) -> None:
    import wellfit as wf

    with pytest.raises(wf.WellfitError, match="received"):
        wf.Recipe.from_yaml("format: 1\n" + recipe if recipe.startswith("reg") else recipe)

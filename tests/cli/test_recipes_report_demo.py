"""``wellfit recipes``, ``report`` and ``demo``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.test_bad_input import assert_refused
from wellfit.core.describe import describe
from wellfit.core.hyper import hypers, options
from wellfit.core.registry import registered

BUILT_IN = {name: cls for name, cls in registered().items() if cls.__module__.startswith("wellfit.")}
QUICK = ["--budget", "3c", "--epochs", "3", "--workers", "1"]

# -------------------------------------------------------------------------------------------------------------- recipes


def test_recipes_lists_everything(wellfit: Callable) -> None:
    done = wellfit("recipes")
    assert (done.status, done.err) == (0, "")
    lines = {line.split()[0]: line for line in done.out.splitlines() if line[:1].isalpha()}
    assert set(BUILT_IN) <= set(lines)
    assert "x ← x + std·n" in lines["input_noise"]


def test_recipes_as_json(wellfit: Callable) -> None:
    rows = json.loads(wellfit("recipes", "--json").out, parse_constant=lambda name: pytest.fail(name))
    assert {row["name"] for row in rows} >= set(BUILT_IN)
    by_name = {row["name"]: row for row in rows}
    rate = by_name["dropout"]["fields"][0]
    assert rate["name"] == "rate"
    assert rate["search"] == list(hypers(BUILT_IN["dropout"])["rate"].search or ())
    assert rate["unit"] == "probability"
    assert rate["low"] == 0
    assert by_name["l1"]["conflicts"].keys() == {"elastic_net"}
    assert by_name["early_stopping"]["fields"][0]["high"] is None  # infinity is no JSON


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_recipe_has_formula_fields_phases_and_when_it_hurts(wellfit: Callable, name: str) -> None:
    cls = BUILT_IN[name]
    row = describe(cls)
    assert row["formula"]
    assert row["title"]
    assert row["when_it_hurts"]
    assert row["source"]
    assert row["phases"]
    done = wellfit("recipes", name)
    assert done.status == 0
    assert f"wf.{cls.__name__}" in done.out
    assert "When it hurts" in done.out
    for field in (*hypers(cls), *options(cls)):
        assert f"  {field} " in done.out
    assert json.loads(wellfit("recipes", name, "--json").out)["name"] == name


@pytest.mark.parametrize("name", ["GroupLasso", "group-lasso", "Group_Lasso"])
def test_a_name_in_any_spelling(wellfit: Callable, name: str) -> None:
    assert "wf.GroupLasso" in wellfit("recipes", name).out


def test_a_name_that_is_unknown(wellfit: Callable) -> None:
    assert_refused(wellfit("recipes", "dropot"), "did you mean dropout")
    assert_refused(wellfit("recipes", "zzzz"), "wellfit recipes")


def test_a_reader_that_leaves_is_no_error() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "wellfit", "recipes", "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) in (0, 141)


# --------------------------------------------------------------------------------------------------------------- report


def test_the_report_is_written_again(wellfit: Callable, run: Path) -> None:
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    done = wellfit("report", run)
    assert (done.status, done.out, done.err) == (0, f"{run / 'report.html'}\n", "")
    assert (run / "report.html").read_bytes() == before
    said = json.loads(wellfit("report", run, "--json").out)
    assert said == {"report": str(run / "report.html"), "bytes": len(before)}


# ----------------------------------------------------------------------------------------------------------------- demo


def test_the_demo_from_end_to_end(wellfit: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = wellfit("demo", *QUICK)
    assert done.status == 0, done.err
    assert "wellfit-demo/report.html" in done.err
    assert "tuned recipe" in done.out
    assert (tmp_path / "wellfit-demo" / "report.html").exists()
    command = next(line for line in done.err.splitlines() if line.strip().startswith("wellfit predict"))
    again = wellfit(*command.split()[1:])
    assert again.status == 0
    assert (tmp_path / "predictions.csv").exists()
    assert wellfit("demo", *QUICK, "--quiet").status == 0  # an earlier demo is replaced


@pytest.mark.parametrize("name", ["digits", "diabetes", "breast_cancer", "wine"])
def test_every_example(wellfit: Callable, tmp_path: Path, name: str) -> None:
    done = wellfit("demo", "--data", name, "--out", tmp_path / "run", "--json", *QUICK)
    assert done.status == 0, done.err
    assert json.loads(done.out) == json.loads((tmp_path / "run" / "summary.json").read_text())


def test_the_demo_replaces_nothing_but_demos(wellfit: Callable, run: Path, tmp_path: Path) -> None:
    summary = (run / "summary.json").read_bytes()
    assert_refused(wellfit("demo", "--out", run, *QUICK), str(run))
    assert (run / "summary.json").read_bytes() == summary
    data = tmp_path / "run-data"
    data.mkdir()
    (data / "thesis.txt").write_text("years of work")
    assert_refused(wellfit("demo", "--out", tmp_path / "run", *QUICK), "thesis.txt")
    assert (data / "thesis.txt").exists()
    assert_refused(wellfit("demo", "--data", "dgits"), "did you mean digits")
    assert_refused(wellfit("demo", "--budget", "0", "--out", tmp_path / "other"), "budget")
    assert not (tmp_path / "other-data").exists()

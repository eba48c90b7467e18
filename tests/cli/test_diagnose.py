"""``wellfit diagnose``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cli.conftest import Done

Command = Callable[..., Done]
QUICK = ["--hidden", "4", "--epochs", "3", "--budget", "8c", "--workers", "1"]


def test_it_writes_a_report_and_names_a_cause(wellfit: Command, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = wellfit("diagnose", table, "-t", "target", "--out", out, *QUICK)
    assert done.status == 0, done.err
    assert "confidence" in done.out and "Generalization gap" in done.out and "report.html" in done.out
    content = json.loads((out / "diagnosis.json").read_text())
    assert content["verdict"]["title"] in done.out
    assert content["verdict"]["title"] in (out / "report.html").read_text()


def test_json_and_what_is_in_the_way(wellfit: Command, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    target = "target"
    done = wellfit("diagnose", table, "-t", target, "--out", out, "--json", *QUICK)
    assert done.status == 0 and json.loads(done.out)["kind"] == "diagnosis"
    again = wellfit("diagnose", table, "-t", target, "--out", out, *QUICK)
    assert again.status == 2 and "--overwrite" in again.err
    over = wellfit("diagnose", table, "-t", target, "--out", out, "--overwrite", "--quiet", *QUICK)
    assert over.status == 0 and str(out) in over.out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    other = wellfit("diagnose", table, "-t", target, "--out", tmp_path / "other", "--overwrite", *QUICK)
    assert other.status == 2 and "another --out" in other.err
    assert (tmp_path / "other" / "mine.txt").exists()


def test_mistakes(wellfit: Command, table: Path) -> None:
    nothing = wellfit("diagnose")
    assert nothing.status == 2 and "needs something to look at" in nothing.err
    no_target = wellfit("diagnose", table)
    assert no_target.status == 2 and "--target" in no_target.err
    budget = wellfit("diagnose", table, "-t", "target", "--budget", "soon")
    assert budget.status == 2 and "budget cannot be read" in budget.err
    recipe = wellfit("diagnose", table, "-t", "target", "--recipe", "none.yaml")
    assert recipe.status == 2 and "no such recipe" in recipe.err


def test_what_a_search_chose(wellfit: Command, run: Path, tmp_path: Path) -> None:
    done = wellfit("diagnose", run, "--out", tmp_path / "out", "--budget", "3c", "--workers", "1")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "out" / "diagnosis.json").read_text())["set_up"]
    chosen = json.loads((run / "summary.json").read_text())["best"]["recipe"]
    assert found["recipe"]["regularizers"] == chosen["regularizers"] and found["learning_rate"] == chosen["learning_rate"]
    assert found["network"]["hidden"] == [16, 16] and found["epochs"] == 4


def test_the_rules_can_be_read(wellfit: Command) -> None:
    done = wellfit("diagnose", "--rules")
    assert done.status == 0 and "weight-decay" in done.out and "Kadra" in done.out
    assert {rule["id"] for rule in json.loads(wellfit("diagnose", "--rules", "--json").out)} >= {"dropout", "lasso"}


def test_a_history_alone(wellfit: Command, tmp_path: Path) -> None:
    rows = [f"{e},{1.0 * 0.9**e:.4f},{0.6 + 0.4 * 0.8**e + 0.01 * max(0, e - 8):.4f}" for e in range(40)]
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,val_loss\n" + "\n".join(rows) + "\n")
    done = wellfit("diagnose", path)
    assert done.status == 0 and "verfit" in done.out
    as_json = wellfit("diagnose", path, "--json")
    assert json.loads(as_json.out)["verdict"]["cause"] == "overfits"

"""Synthetic runs and their reports, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from report import synthetic_run
from wellfit.report import write_report

KINDS = ("classification", "regression", "nasty", "minimal")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run directory of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    return {"classification": synthetic_run.write_run(folder / "classification"),
            "regression": synthetic_run.write_run(folder / "regression", regression=True),
            "nasty": synthetic_run.write_run(folder / "nasty", nasty=True, classes=9, parts=40),
            "minimal": synthetic_run.write_minimal(folder / "minimal")}


@pytest.fixture(scope="session")
def reports(runs: dict[str, Path]) -> dict[str, str]:
    """The text of each report."""
    return {name: write_report(run).read_text(encoding="utf-8") for name, run in runs.items()}

"""Small tables and one small finished run, shared by the tests of the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

TINY: dict[str, Any] = {"epochs": 4, "hidden": (12, 12), "folds": 2, "encoding": "plain", "workers": 1, "progress": False}
"""A search of a fraction of a second; add a budget such as 8c."""


def table(task: str, rows: int = 160, seed: int = 0) -> pd.DataFrame:
    """A table with numbers, a category and a flag, whose target ``y`` can be learned from them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows).round(2),
                          "c": rng.choice(["red", "blue", "teal"], rows), "d": rng.random(rows) < 0.5,
                          "where": rng.integers(0, 12, rows)})
    signal = 2 * frame["a"] - frame["b"] + (frame["c"] == "red") + 0.3 * rng.normal(size=rows)
    if task == "regression":
        frame["y"] = 40 + 7 * signal
    elif task == "binary":
        frame["y"] = np.where(signal > 0.4, "yes", "no")
    else:
        frame["y"] = pd.cut(signal, [-np.inf, -0.8, 1.0, np.inf], labels=["low", "middle", "high"]).astype(str)
    return frame


@pytest.fixture(scope="session")
def tune() -> Callable[..., Any]:
    """``wellfit.tune`` with settings for tests."""
    from wellfit.search.tune import tune as search

    def run(data: Any, **given: Any) -> Any:
        return search(data, **{"target": "y", "budget": "8c", **TINY, **given})

    return run


@pytest.fixture(scope="session", params=["binary", "multiclass", "regression"])
def finished(request: pytest.FixtureRequest, tune: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(task, frame, result) of a finished run for each kind of task."""
    frame = table(request.param)
    return request.param, frame, tune(frame, out=tmp_path_factory.mktemp("runs") / request.param)


def settled(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary less what the clock says."""
    return {**summary, "cost": {k: v for k, v in summary["cost"].items() if k != "seconds"}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"

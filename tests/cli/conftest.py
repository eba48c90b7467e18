"""The command line in this process, and one small finished run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

QUICK = ["--budget", "8c", "--epochs", "4", "--hidden", "16,16", "--folds", "2", "--workers", "1", "--encoding", "plain"]
"""Options of a search of a fraction of a second."""


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def wellfit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command line with these arguments."""
    from wellfit.cli import main

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    frame = bunch.frame.rename(columns=lambda c: c.removesuffix(" (cm)"))
    frame["target"] = [str(bunch.target_names[t]) for t in bunch.target]
    frame["colour"] = (["red", "blue", "white"] * 50)[: len(frame)]
    return frame


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scikit-learn's irises as csv, with a made-up category."""
    path = tmp_path_factory.mktemp("data") / "iris.csv"
    iris().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Tests read it and leave it as it is."""
    from wellfit.cli import main

    path = tmp_path_factory.mktemp("runs") / "iris"
    assert main(["tune", str(table), "--target", "target", "--out", str(path), "--quiet", *QUICK]) == 0
    return path

"""A run that is killed or interrupted loses nothing but the epoch in flight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.conftest import settled, table
from wellfit.core.errors import WellfitError
from wellfit.population.stack import Stack
from wellfit.search.tune import tune as search

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


@pytest.mark.parametrize(("task", "kills", "seed"), [("multiclass", 6, 2), ("regression", 3, 1)])
def test_a_run_killed_at_any_moment_ends_as_if_nothing_had_happened(task: str, kills: int, seed: int, tmp_path: Path) -> None:
    data = tmp_path / "table.csv"
    table(task, rows=140).to_csv(data, index=False)
    program = Path(__file__).with_name("killed_runs.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, program, data, "y", tmp_path, str(kills), str(seed)], capture_output=True, text=True,
                          check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert settled(found["killed"]["summary"]) == settled(found["whole"]["summary"])
    assert found["killed"]["files"] == found["whole"]["files"]
    assert [{k: v for k, v in t.items() if k != "seconds"} for t in found["killed"]["trials"]] == [
        {k: v for k, v in t.items() if k != "seconds"} for t in found["whole"]["trials"]]


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, *epochs: int) -> None:
    """Ctrl-C at the end of these epochs of the engine, counted over the whole process."""
    original = Stack.run_epoch
    count = 0

    def run_epoch(self: Stack, **settings: Any) -> Any:
        nonlocal count
        count += 1
        if count in epochs:
            signal.raise_signal(signal.SIGINT)
        return original(self, **settings)

    monkeypatch.setattr(Stack, "run_epoch", run_epoch)


@pytest.mark.parametrize("share", [0.02, 0.4, 0.7, 0.95])
def test_ctrl_c_ends_with_the_best_so_far_and_can_be_resumed(share: float, tune: Callable[..., Any], tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table("binary")
    counted = 0
    original = Stack.run_epoch

    def counting(self: Stack, **settings: Any) -> Any:
        nonlocal counted
        counted += 1
        return original(self, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "run_epoch", counting)
        whole = tune(frame, budget="24c", out=tmp_path / "whole").summary
    assert whole["interrupted"] is False
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, max(1, round(share * counted)))
        cut = tune(frame, budget="24c", out=tmp_path / "cut")
    assert cut.summary["interrupted"] is True
    assert cut.summary["best"]["test"] is not None
    assert cut.summary["unregularized"]["test"] is not None
    assert len(cut.predict(frame)) == len(frame)
    resumed = search(frame, resume=tmp_path / "cut", workers=1, progress=False)
    assert settled(resumed.summary) == settled(whole)
    assert not (tmp_path / "cut" / "work").exists()


def test_ctrl_c_twice_leaves_at_once_and_can_be_resumed(tune: Callable[..., Any], tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table("binary")
    whole = tune(frame, out=tmp_path / "whole").summary
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, 3, 5)
        with pytest.raises(KeyboardInterrupt):
            tune(frame, out=tmp_path / "cut")
    assert not (tmp_path / "cut" / "summary.json").exists()
    resumed = search(frame, resume=tmp_path / "cut", workers=1, progress=False)
    assert settled(resumed.summary) == settled(whole)


def test_a_complete_run_is_not_run_again(tune: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    whole = tune(table("binary"), out=path)
    monkeypatch.setattr(Stack, "run_epoch", lambda *_, **__: pytest.fail("it trains again"))
    assert search(resume=path).summary == whole.summary


def test_resuming_needs_the_same_data(tune: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "table.csv"
    frame = table("binary")
    frame.to_csv(data, index=False)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, 1, 2)
        with pytest.raises(KeyboardInterrupt):
            tune(str(data), out=tmp_path / "run")
    frame.assign(a=frame["a"] + 1).to_csv(data, index=False)
    with pytest.raises(WellfitError, match="data have changed"):
        search(resume=tmp_path / "run", progress=False)
    frame.to_csv(data, index=False)
    assert search(resume=tmp_path / "run", workers=1, progress=False).summary["interrupted"] is False


def test_a_run_from_a_frame_needs_the_frame_again(tune: Callable[..., Any], tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, 1, 2)
        with pytest.raises(KeyboardInterrupt):
            tune(table("binary"), out=tmp_path / "run")
    with pytest.raises(WellfitError, match="data frame"):
        search(resume=tmp_path / "run", progress=False)

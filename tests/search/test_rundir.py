"""The run directory: what it refuses, and what a kill cannot break."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from wellfit.core.errors import WellfitError
from wellfit.search.rundir import RunDirectory, to_json, write_atomically


def finished(path: Path) -> RunDirectory:
    run = RunDirectory.create(path)
    run.write_json("run.json", {"format": 1})
    run.write_json("summary.json", {"format": 1})
    run.append_trials([{"number": 0}])
    run.clean_up()
    return run


def test_a_new_run_and_an_empty_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "deep" / "run", tmp_path / "empty"):
        path.parent.mkdir(exist_ok=True)
    (tmp_path / "empty").mkdir()
    assert not RunDirectory.create(tmp_path / "deep" / "run").complete
    RunDirectory.create(tmp_path / "empty")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(WellfitError, match=r"thesis\.txt"):
        RunDirectory.create(tmp_path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_named_work_is_no_start_of_ours(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years of work")
    with pytest.raises(WellfitError, match="other files"):
        RunDirectory.create(tmp_path, overwrite=overwrite)
    assert (tmp_path / "work" / "thesis.txt").exists()


def test_an_existing_run_is_kept_unless_asked(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run.path / "notes.txt").write_text("mine")
    with pytest.raises(WellfitError, match="--resume"):
        RunDirectory.create(run.path)
    assert run.complete
    RunDirectory.create(run.path, overwrite=True)
    assert not run.complete
    assert not (run.path / "trials.jsonl").exists()
    assert (run.path / "notes.txt").read_text() == "mine"  # only what a run writes is removed


def test_a_start_that_was_killed_before_run_json_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for _ in range(2):
        run = RunDirectory.create(path)
        (path / "split.npz").write_bytes(b"torn")
    assert run.path == path


def test_a_file_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(WellfitError, match="a file, not a folder"):
        RunDirectory.create(tmp_path / "file")
    with pytest.raises(WellfitError, match="cannot be written"):
        RunDirectory.create(tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "text"


def test_only_runs_can_be_opened(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "has no run.json"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(WellfitError, match=why):
            RunDirectory.open(path)


def test_trials_survive_a_torn_line(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    run.append_trials([{"number": 0, "validation": 0.5}, {"number": 1, "validation": math.nan}])
    with (run.path / "trials.jsonl").open("a") as file:
        file.write('{"number": 2, "valid')
    assert run.trial_numbers() == {0, 1}
    run.append_trials([{"number": 1, "validation": 9}, {"number": 2, "validation": 0.7}])
    assert [(t["number"], t["validation"]) for t in run.trials()] == [(0, 0.5), (1, None), (2, 0.7)]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, "old")

    def full_disk(self: Path, text: str, **_: object) -> int:
        with self.open("w") as file:
            file.write(text[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_json_holds_numbers_and_nothing_that_is_no_json() -> None:
    text = to_json({"a": np.float32(0.5), "b": np.array([1, 2]), "c": math.inf, "d": (math.nan, np.int64(3)), 5: np.bool_(True)})
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {
        "a": 0.5, "b": [1, 2], "c": None, "d": [None, 3], "5": True}


def test_jobs_come_back_exactly(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert run.load_job("search-000") is None
    assert not run.has_job("search-000")
    run.save_job("search-000", {"pruned": {"3": 5}, "share": 0.1}, {"0/outputs": values})
    meta, arrays = run.load_job("search-000") or ({}, {})
    assert meta == {"pruned": {"3": 5}, "share": 0.1}
    assert arrays["0/outputs"].tobytes() == values.tobytes()
    assert not run.complete


@pytest.mark.parametrize("content", ["", "{", "[1, 2"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    run = finished(tmp_path / "run")
    (run.path / "summary.json").write_text(content)
    with pytest.raises(WellfitError, match=r"summary\.json is damaged"):
        run.read_json("summary.json")

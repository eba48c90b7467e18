"""The run directory: complete, portable, safe against a kill at any moment."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError

FORMAT = 1
_OURS = ("run.json", "trials.jsonl", "screened.jsonl", "summary.json")
_MARK = ".wellfit"  # in work/: this folder is ours


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole: a reader, or a kill, sees the old or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def to_json(value: Any) -> str:
    """JSON with numpy numbers as numbers, and nan and infinity as null."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


class RunDirectory:
    """One run's files.

    ``work/`` holds what an interrupted run needs to go on; it is removed when the run is complete.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    # ---- opening

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, overwrite: bool = False) -> RunDirectory:
        """A new run directory; an existing one with other content is never touched."""
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise WellfitError("The output is a file, not a folder.", received=str(path), expected="a new or empty folder")
        entries = [p.name for p in run.path.iterdir()] if run.path.exists() else []
        if entries and not run._barely_begun(entries):
            if not set(entries) & set(_OURS):
                raise WellfitError("The output folder holds other files.", received=f"{path} with {', '.join(sorted(entries)[:5])}",
                                   expected="a new or empty folder", action="choose another --out")
            if not overwrite:
                raise WellfitError("There is a run in the output folder already.", received=str(path),
                                   expected="a new or empty folder",
                                   action=f"go on with it (wellfit tune --resume {path}), or replace it (--overwrite)")
            run.clear()
        try:
            (run.path / "work").mkdir(parents=True, exist_ok=True)
            (run.path / "work" / _MARK).write_text("")
        except OSError as error:
            raise WellfitError("The output folder cannot be written.", received=f"{path} ({error.strerror})",
                               expected="a folder you may write to", action="choose another --out") from error
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """An existing run directory."""
        run = cls(path)
        if not (run.path / "run.json").is_file():
            what = "does not exist" if not run.path.exists() else "has no run.json"
            raise WellfitError("This is no run directory.", received=f"{path} ({what})",
                               expected="a folder written by `wellfit tune --out RUN`")
        return run

    def _barely_begun(self, entries: list[str]) -> bool:
        """Whether this is all that a start leaves behind when it is killed before it has written run.json."""
        work = self.path / "work"
        return set(entries) <= {"work", "split.npz", "run.json.tmp"} and work.is_dir() and (
            (work / _MARK).is_file() or not any(work.iterdir()))

    def clear(self) -> None:
        """Remove what a run writes, and nothing else."""
        for name in (*_OURS, "evidence.json", "split.npz", "report.html"):
            (self.path / name).unlink(missing_ok=True)
        for name in ("work", "best", "ensemble"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    # ---- files

    def file(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, value: Any) -> None:
        write_atomically(self.file(name), to_json(value))

    def read_json(self, name: str) -> Any:
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise WellfitError(f"The run has no {name}.", received=str(self.path), expected="a complete run",
                               action=f"finish it: wellfit tune --resume {self.path}") from error
        except ValueError as error:
            raise WellfitError(f"{name} is damaged.", received=str(path), expected="JSON written by wellfit") from error

    @property
    def complete(self) -> bool:
        return (self.path / "summary.json").is_file() and not (self.path / "work").exists()

    # ---- trials

    def trial_numbers(self) -> set[int]:
        """Numbers of the trials on file; a line torn by a kill is cut off."""
        path = self.path / "trials.jsonl"
        if not path.is_file():
            return set()
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        return {json.loads(line)["number"] for line in whole.decode().splitlines() if line}

    def append_trials(self, rows: list[dict[str, Any]]) -> None:
        """Add finished trials, each once."""
        known = self.trial_numbers()
        lines = [json.dumps(_plain(r), ensure_ascii=False, allow_nan=False) + "\n" for r in rows if r["number"] not in known]
        if lines:
            with (self.path / "trials.jsonl").open("a", encoding="utf-8") as file:
                file.write("".join(lines))
                file.flush()
                os.fsync(file.fileno())

    def append_screened(self, generation: int, rows: list[dict[str, Any]]) -> None:
        """Add what a first look at many configurations gave to screened.jsonl; a resumed run looks only once."""
        path = self.file("screened.jsonl")
        known = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = known[: known.rfind("\n") + 1]
        kept = [line for line in whole.splitlines() if json.loads(line)["generation"] != generation]
        kept += [json.dumps(_plain({"generation": generation, **r}), ensure_ascii=False, allow_nan=False) for r in rows]
        write_atomically(path, "".join(line + "\n" for line in kept))

    def trials(self) -> list[dict[str, Any]]:
        path = self.path / "trials.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line] if path.is_file() else []

    # ---- finished jobs

    def save_job(self, name: str, meta: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a job's result; from now on a resumed run reads it instead of training again."""
        path = self.file(f"work/{name}.npz")
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.savez(file, meta=np.array(json.dumps(_plain(meta))), **dict(arrays))  # type: ignore[arg-type]
        os.replace(temporary, path)
        shutil.rmtree(self.path / "work" / name, ignore_errors=True)

    def has_job(self, name: str) -> bool:
        return (self.path / "work" / f"{name}.npz").is_file()

    def load_job(self, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        path = self.path / "work" / f"{name}.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as data:
            return json.loads(str(data["meta"])), {k: data[k] for k in data.files if k != "meta"}

    def job_folder(self, name: str) -> Path:
        """Where a job in flight keeps its checkpoints."""
        return self.path / "work" / name

    def clean_up(self) -> None:
        """The run is complete: nothing is left to resume."""
        shutil.rmtree(self.path / "work", ignore_errors=True)


def environment() -> dict[str, str]:
    """Versions that results depend on."""
    names = ("wellfit", "torch", "numpy", "pandas", "scikit-learn", "optuna")
    out = {"python": platform.python_version()}
    for name in names:
        try:
            out[name] = version(name)
        except Exception as error:  # a source tree that was never installed has no version
            out[name] = f"unknown ({type(error).__name__})"
    return {**out, "platform": f"{platform.system()} {platform.machine()}"}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str:
    return " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])

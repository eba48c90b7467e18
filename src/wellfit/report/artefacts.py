"""What a run directory holds, read leniently: every optional part may be absent, null, empty or cut short."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wellfit.core.errors import WellfitError

FORMAT = 1
"""The newest summary format this version can read."""

RUN_FILES = ("run.json", "summary.json", "trials.jsonl", "split.npz")


def as_map(value: object) -> dict[str, Any]:
    """The mapping itself, or an empty one when the value is anything else."""
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """The list itself, or an empty one when the value is anything else."""
    return list(value) if isinstance(value, (list, tuple)) else []


def as_number(value: object) -> float | None:
    """A finite float, or None: what is absent, null, text, NaN or infinite is no number to show."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_numbers(value: object) -> list[float | None]:
    """Each entry as a finite float or None."""
    return [as_number(v) for v in as_list(value)]


def as_interval(value: object) -> tuple[float, float] | None:
    """``(low, high)`` in that order, or None unless both ends are finite numbers."""
    ends = as_numbers(value)
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return min(ends[0], ends[1]), max(ends[0], ends[1])


def as_text(value: object) -> str:
    """A value as the text to show; None is the empty text."""
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Run:
    """The artefacts of one run directory.

    ``problems`` says in words which files were there but could not be read in full.
    """

    path: Path
    summary: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    recipe_yaml: str | None = None
    problems: tuple[str, ...] = ()


def read_run(run_dir: Path) -> Run:
    """Read a run directory.

    Raises:
        WellfitError: the directory is not a run, or its summary is missing or unreadable.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise WellfitError("There is no such run directory.", received=path,
                           expected="the directory that `wellfit tune --out` wrote")
    if not any((path / name).exists() for name in RUN_FILES):
        raise WellfitError("This directory is not a run.", received=path,
                           expected="a directory with run.json and summary.json",
                           action="wellfit tune DATA --target COL --out RUN, then wellfit report RUN")
    problems: list[str] = []
    return Run(path=path, summary=_summary(path / "summary.json"),
               info=_optional(path / "run.json", problems),
               trials=_lines(path / "trials.jsonl", problems),
               evidence=_optional(path / "evidence.json", problems),
               recipe_yaml=_text(path / "best" / "recipe.yaml", problems),
               problems=tuple(problems))


def _summary(path: Path) -> dict[str, Any]:
    """The summary, which a report cannot do without."""
    if not path.exists():
        raise WellfitError("This run has no summary.json yet, so there is nothing to report.", received=path.parent,
                           expected="a run that finished, or was stopped with Ctrl-C after its first result",
                           action="run the same `wellfit tune` command again with the same --out")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WellfitError(f"summary.json cannot be read: {error}", received=path, expected="a JSON object",
                           action="run the same `wellfit tune` command again with the same --out") from error
    if not isinstance(summary, dict):
        raise WellfitError("summary.json is not a JSON object.", received=type(summary).__name__, expected="an object")
    version = as_number(summary.get("format"))
    if version is not None and version > FORMAT:
        raise WellfitError("This run was written by a newer wellfit.", received=f"summary format {version:g}",
                           expected=f"format {FORMAT} or older", action="pip install --upgrade wellfit")
    return as_map(summary)


def _text(path: Path, problems: list[str]) -> str | None:
    """A text file, or None when it is absent or unreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} could not be read ({error.__class__.__name__}) and is left out.")
        return None


def _optional(path: Path, problems: list[str]) -> dict[str, Any]:
    """A JSON object, or an empty one when it is absent or unreadable."""
    text = _text(path, problems)
    if text is None:
        return {}
    try:
        return as_map(json.loads(text))
    except ValueError:
        problems.append(f"{path.name} is not valid JSON and is left out.")
        return {}


def _lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """JSON objects, one a line; a line that was cut short is counted, not fatal."""
    rows: list[dict[str, Any]] = []
    unreadable = 0
    for line in (_text(path, problems) or "").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(as_map(row))
        else:
            unreadable += 1
    if unreadable:
        noun = "line" if unreadable == 1 else "lines"
        problems.append(f"{unreadable} {noun} of {path.name} could not be read (cut short?) and left out.")
    return rows

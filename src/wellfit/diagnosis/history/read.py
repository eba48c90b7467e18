"""Read a training history from whatever holds one: csv, JSON, TensorBoard, a wellfit run, a Keras History, arrays."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.history.events import read_events
from wellfit.diagnosis.history.series import EXPECTED, HELD, TEST, TRAIN, History, column, from_rows

ACCEPTED = ("a csv with a row per epoch (Keras CSVLogger, Lightning metrics.csv), a JSON of lists or rows (Hugging Face "
            "trainer_state.json), a TensorBoard event file, trials.jsonl of a wellfit run, or a folder with one of them")
NAMED = ("metrics.csv", "history.csv", "training.csv", "log.csv", "training_log.csv", "history.json", "trainer_state.json",
         "log_history.json", "trials.jsonl")
"""File names that are looked for in a folder, in this order; event files come after the csv files."""

_HEAD = 1 << 16
_LARGEST = 1 << 28
_EVENTS = "tfevents"


def is_history(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a training history rather than a table of data: decided by names of files and columns, quickly.

    A wellfit run directory is not (it holds far more than a history); its ``trials.jsonl`` is.
    """
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            return not (place / "run.json").exists() and _inside(place) is not None
        if not place.is_file():
            return False
        if _EVENTS in place.name:
            return True
        suffix = place.suffix.lower()
        if suffix in (".json", ".jsonl"):
            return _looks_like_json_history(place)
        if suffix in (".csv", ".tsv", ".txt", ".log"):
            with place.open("rb") as file:
                return _is_header(_header(_decoded(file.read(_HEAD))))
    except (OSError, ValueError):
        return False
    return False


def _is_header(names: Sequence[str]) -> bool:
    """A history has a loss or metric for validation, or a loss beside a clock, and hardly anything else."""
    found = [column(n) for n in names]
    known = [c for c in found if c.kind]
    held = any(c.part in ("validation", "test") and c.kind in ("loss", "metric") for c in found)
    loss = any(c.kind == "loss" for c in found) and any(c.kind == "clock" for c in found)
    return (held or loss) and len(known) >= 2 and 2 * len(known) >= min(len(found), 40)


def read_history(source: Any, *, higher_is_better: bool | None = None) -> History:
    """Read a history.

    Args:
        source: a path (see ``ACCEPTED``), a Keras ``History`` (anything with a ``history`` mapping), a mapping of lists, a list of
            mappings, a data frame, or a :class:`History`.
        higher_is_better: of the metric, where its name does not tell.

    Raises:
        WellfitError: there is nothing to read, or no loss in it.
    """
    if isinstance(source, History):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source).expanduser(), higher_is_better)
    inner = getattr(source, "history", source)
    if hasattr(inner, "to_dict") and hasattr(inner, "columns"):  # a data frame
        return from_rows(inner.to_dict("records"), "data frame", higher_is_better=higher_is_better)
    if isinstance(inner, Mapping):
        epochs = getattr(source, "epoch", None)
        extra = {"epoch": [e + 1 for e in epochs]} if isinstance(epochs, list) and epochs and "epoch" not in inner else {}
        return _from_json({**extra, **inner}, "history", higher_is_better)
    if isinstance(inner, Sequence):
        return _from_json(inner, "history", higher_is_better)
    raise WellfitError("This is no training history.", received=type(source).__name__, expected=ACCEPTED)


def _from_path(path: Path, higher: bool | None) -> History:
    if not path.exists():
        raise WellfitError("There is no such file.", received=path, expected=ACCEPTED)
    if path.is_dir():
        inside = _inside(path)
        if inside is None:
            raise WellfitError("There is no training history in this folder.", received=path,
                               expected=f"one of {', '.join(NAMED[:4])}, trainer_state.json, trials.jsonl or an event file")
        return _from_events(inside, higher) if isinstance(inside, list) else _from_path(inside, higher)
    if _EVENTS in path.name:
        return _from_events([path], higher)
    if path.stat().st_size > _LARGEST:
        raise WellfitError("The file is too large to be a training history.", received=f"{path} ({path.stat().st_size:,} bytes)",
                           expected=ACCEPTED)
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise WellfitError(f"The file cannot be read: {error.strerror or error}", received=path) from error
    if not text.strip():
        raise WellfitError("The file is empty.", received=path, expected=ACCEPTED)
    if path.suffix.lower() in (".json", ".jsonl") or text.lstrip()[:1] in ("{", "["):
        return _from_json(_json(text, path), str(path), higher)
    rows = _csv_rows(text)
    if not rows:
        raise WellfitError("The file has a header and no rows.", received=path, expected=EXPECTED)
    return from_rows(rows, str(path), higher_is_better=higher)


def _decoded(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    if b"\x00" in raw[:4096]:
        raise WellfitError("The file is not text.", expected=ACCEPTED)
    return raw.decode("utf-8-sig", "replace")


def _header(text: str) -> list[str]:
    line = next((line for line in text.splitlines() if line.strip()), "")
    return [cell.strip() for cell in next(csv.reader([line], delimiter=_delimiter(line)), [])]


def _delimiter(line: str) -> str:
    return max(",;\t|", key=line.count)


def _csv_rows(text: str) -> list[dict[str, object]]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = _delimiter(first)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    names: list[str] = []
    rows: list[dict[str, object]] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        cells = [cell.strip() for cell in cells]
        if not names:
            names = cells
        elif cells != names:  # a header repeated by an appending logger
            decimal = [c.replace(",", ".") for c in cells] if delimiter != "," else cells
            rows.append(dict(zip(names, decimal)))
    return rows


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    rows, bad = [], 0
    for line in text.splitlines():
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError:
                bad += 1
    if not rows or bad > 1:  # the last line may have been cut short
        raise WellfitError("The file is not valid JSON.", received=path, expected=ACCEPTED)
    return rows


def _looks_like_json_history(path: Path) -> bool:
    if path.name in ("trainer_state.json", "trials.jsonl"):
        return True
    if path.stat().st_size > _LARGEST:
        return False
    try:
        value = _json(_decoded(path.read_bytes()), path)
        _from_json(value, path.name, None)
    except WellfitError:
        return False
    return True


def _from_json(value: Any, source: str, higher: bool | None) -> History:
    if isinstance(value, Mapping):
        if isinstance(value.get("log_history"), list):
            return _from_trainer(value["log_history"], source, higher)
        if isinstance(value.get("history"), Mapping):
            return _from_json(value["history"], source, higher)
        if isinstance(value.get("curves"), Mapping):
            return _from_json(value["curves"], source, higher)
        for key in ("unregularized", "best"):
            if isinstance(value.get(key), Mapping):
                return _from_json(value[key], f"{source}, {key}", higher)
        lists = {str(k): v for k, v in value.items() if _is_list(v)}
        if lists:
            rows = [{k: v[i] for k, v in lists.items() if i < len(v)} for i in range(max(map(len, lists.values())))]
            return from_rows(rows, source, higher_is_better=higher)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and value:
        if all(isinstance(row, Mapping) for row in value):
            trial = next((row for row in value if isinstance(row.get("history"), Mapping)), None)
            if trial is not None:
                name = trial.get("origin") or f"configuration {trial.get('number', 0)}"
                return _from_json(trial["history"], f"{source}, {name}", higher)
            return _from_trainer(value, source, higher)
    raise WellfitError("There is no training history in this JSON.", received=source,
                       expected='lists by name such as {"loss": [...], "val_loss": [...]}, or a list of rows')


def _is_list(value: object) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, (str, bytes, Mapping))


def _from_trainer(rows: Sequence[Any], source: str, higher: bool | None) -> History:
    """Rows as the Hugging Face trainer logs them; its last row, with totals of the whole training, is left out."""
    kept = [row for row in rows if isinstance(row, Mapping) and not {"train_runtime", "total_flos"} & set(row)]
    return from_rows(kept or [row for row in rows if isinstance(row, Mapping)], source, higher_is_better=higher)


def _inside(folder: Path) -> Path | list[Path] | None:
    """The history of a folder: a file with a usual name, all event files of one run, or the only csv that looks like one."""
    for name in NAMED:
        if (folder / name).is_file():
            return folder / name
    events = [p for p in sorted(folder.rglob(f"*{_EVENTS}*")) if p.is_file()]
    if events:
        return events
    below = sorted(folder.rglob("metrics.csv"), key=lambda p: p.stat().st_mtime) + sorted(
        folder.rglob("trainer_state.json"), key=lambda p: p.stat().st_mtime)
    if below:
        return below[-1]
    candidates = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl") and is_history(p)]
    return candidates[0] if candidates else None


def _from_events(paths: Sequence[Path], higher: bool | None) -> History:
    """Scalars by step. Keras and others write one folder for training and one for validation: the folder's name joins the tag."""
    newest: dict[Path, list[Path]] = {}
    for path in paths:
        newest.setdefault(path.parent, []).append(path)
    parts = {folder: column(f"{folder.name}/loss").part if folder.name.lower() in HELD | TRAIN | TEST else "" for folder in newest}
    if any(parts.values()):
        folders = [f for f in newest if parts[f]]
    else:
        folders = [max(newest, key=lambda f: max(p.stat().st_mtime for p in newest[f]))]
    by_step: dict[int, dict[str, object]] = {}
    for folder in folders:
        prefix = f"{parts[folder]}/" if parts[folder] else ""
        for path in sorted(newest[folder]):
            for tag, values in read_events(path).items():
                for step, value in values:
                    row = by_step.setdefault(step, {"step": step})
                    row[f"{prefix}{tag}"] = value
    if not by_step:
        raise WellfitError("The event file holds no scalars.", received=paths[0], expected="scalars such as loss and val_loss")
    whole_epochs = all(name.split("/")[-1].startswith("epoch_") for row in by_step.values() for name in row if name != "step")
    rows = [by_step[step] for step in sorted(by_step)]
    if whole_epochs:  # what Keras writes counts epochs, from 0
        rows = [{"epoch": step + 1, **{k: v for k, v in row.items() if k != "step"}} for step, row in zip(sorted(by_step), rows)]
    return from_rows(rows, str(paths[0] if len(paths) == 1 else folders[0]), higher_is_better=higher)


def from_arrays(train_loss: Any = None, validation_loss: Any = None, *, train_metric: Any = None, validation_metric: Any = None,
                epochs: Any = None, metric: str = "", higher_is_better: bool | None = None) -> History:
    """A history from arrays; lengths may differ only by missing ones (None).

    Raises:
        WellfitError: there is no array, or lengths differ.
    """
    given = {"train_loss": train_loss, "validation_loss": validation_loss, "train_metric": train_metric,
             "validation_metric": validation_metric}
    found: dict[str, tuple[float, ...]] = {}
    for name, values in given.items():
        if values is None:
            continue
        try:
            found[name] = tuple(math.nan if v is None else float(v) for v in values)
        except (TypeError, ValueError) as error:
            raise WellfitError(f"{name} is no list of numbers.", received=type(values).__name__,
                               expected="one number per epoch") from error
    lengths = {name: len(values) for name, values in found.items()}
    if not lengths or not max(lengths.values()):
        raise WellfitError("There are no values to judge.", expected="train_loss and validation_loss, one number per epoch")
    if len(set(lengths.values())) > 1:
        raise WellfitError("The curves have different lengths.", received=", ".join(f"{k} {v}" for k, v in lengths.items()),
                           expected="one number per epoch in each")
    count = next(iter(lengths.values()))
    at = tuple(map(float, epochs)) if epochs is not None else tuple(float(i + 1) for i in range(count))
    if len(at) != count:
        raise WellfitError("There are not as many epochs as values.", received=f"{len(at)} epochs, {count} values")
    return History(at, **found, metric=metric, higher_is_better=higher_is_better, source="arrays")  # type: ignore[arg-type]

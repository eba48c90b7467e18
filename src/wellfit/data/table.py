"""From a file or a data frame to a checked table: features, target, task, and everything decided on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from wellfit.core.errors import WellfitError, nearest
from wellfit.data.columns import Column, Inferred, coerce, ignored_notes, infer_column, mark_copies
from wellfit.data.fingerprint import sha256_of
from wellfit.data.notes import Note, plural, quoted
from wellfit.data.read import Source, read_with_notes
from wellfit.data.target import Label, Task, read_target, read_times
from wellfit.data.values import to_words

MIN_ROWS = 10
ID_POLICIES = ("drop", "keep")


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table whose every column has a decided meaning. Nothing in it is scaled or filled yet.

    Attributes:
        frame: the feature columns only, in uniform types (float64, text categories, datetime64); ignored ones left out.
        target: name of the target column.
        task: binary, multiclass or regression.
        classes: the labels as Python values in natural order, None for regression.
        class_names: the labels as written in the source, in the same order, None for regression.
        y: index into ``classes`` (int64), or the target values (float64).
        columns: one entry per column of the source except the target, ignored ones included.
        groups: the group of each row (int64), rows of one group belong together; or None.
        times: when each row happened (float64, only the order counts); or None.
        test_index: rows that came from a separate test table; or None.
        notes: what was decided or found, for a person to read.
        name: a short name.
        fingerprint: sha256 of the content, number of rows, column names, classes; JSON-safe.
    """

    frame: pd.DataFrame
    target: str
    task: Task
    y: np.ndarray
    columns: tuple[Column, ...]
    classes: tuple[Label, ...] | None = None
    class_names: tuple[str, ...] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    test_index: np.ndarray | None = None
    notes: tuple[Note, ...] = ()
    name: str = "table"
    fingerprint: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return (f"Table({self.name!r}, {len(self)} rows, {self.frame.shape[1]} features, target {self.target!r}, "
                f"{self.task}{'' if self.classes is None else f' with {len(self.classes)} classes'})")

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that are used, in the order of ``frame``."""
        return tuple(column for column in self.columns if column.kind != "ignored")


def load_table(source: Source, target: str, *, task: str | None = None, group: str | None = None,
               time: str | None = None, drop: Sequence[str] = (), test: Source | None = None,
               id_policy: str = "drop") -> Table:
    """Read a table and decide what each column means.

    Args:
        source: csv (also gzipped), tsv, txt or parquet file, or a data frame.
        target: the column to predict.
        task: binary, multiclass, regression or classification; None decides from the target (see ``infer_task``).
        group: a column whose equal values mark rows that belong together (one patient, one mouse); never a feature.
        time: a column that orders the rows, numbers or dates; never a feature.
        drop: columns to leave out.
        test: a separate test table with the same columns; its rows are appended and never trained on.
        id_policy: "drop" ignores columns that identify rows, "keep" uses them.
    """
    if id_policy not in ID_POLICIES:
        raise WellfitError("This id_policy is not known.", received=id_policy, expected=" or ".join(ID_POLICIES))
    target = str(target)
    main, notes, name = read_with_notes(source, text=[target])
    _check_roles(main, target, group, time, drop)
    _check_size(len(main))
    frames = [main]
    if test is not None:
        frames.append(_read_test(test, target, group, time, notes))
    is_test = np.repeat([False, True][:len(frames)], [len(frame) for frame in frames])

    read = read_target(_stacked(frames, target), task, is_test if test is not None else None)
    notes += read.notes
    is_test = is_test[read.rows]
    _check_size(int((~is_test).sum()))
    starts = np.cumsum([0, *(len(frame) for frame in frames)])
    kept = [read.rows[(read.rows >= a) & (read.rows < b)] - a for a, b in zip(starts, starts[1:], strict=False)]
    fingerprint = {"sha256": sha256_of(frames), "rows": len(read.rows),
                   "columns": [c for c in main.columns if c != target],
                   "classes": None if read.classes is None else list(read.classes)}
    frames = [frame if len(rows) == len(frame) else frame.iloc[rows].reset_index(drop=True)
              for frame, rows in zip(frames, kept, strict=True)]

    roles = {c: f"the {role} column" for role, c in (("group", group), ("time", time)) if c is not None}
    roles |= dict.fromkeys([drop] if isinstance(drop, str) else list(drop), "dropped on request")
    inferred = [Inferred(Column(c, "ignored", roles[c])) if c in roles else
                infer_column(c, frames[0][c], id_policy=id_policy) for c in main.columns if c != target]
    mark_copies(inferred)
    notes += ignored_notes(inferred) + [note for item in inferred for note in item.notes]
    notes += _lookalikes(target, inferred)
    features = {item.column.name: item.values for item in inferred if item.values is not None}
    columns = tuple(item.column for item in inferred)
    if not features:
        raise WellfitError("No column is left to predict from.", received=quoted(main.columns, 12),
                           expected=f"at least one informative column beside the target {target!r}",
                           action="; ".join(f"{c.name}: {c.reason}" for c in columns[:8]) or
                           "check the delimiter: the table has one column only")
    frame = pd.DataFrame(features, copy=False)
    if test is not None:
        frame = _append_test(frame, frames[1], columns, notes)
    return Table(frame=frame, target=target, task=read.task, y=read.y, columns=columns, classes=read.classes,
                 class_names=read.class_names, groups=None if group is None else _groups(frames, group, is_test, notes),
                 times=None if time is None else read_times(_stacked(frames, time)),
                 test_index=np.flatnonzero(is_test) if test is not None else None, notes=tuple(notes), name=name,
                 fingerprint=fingerprint)


def describe(table: Table) -> list[dict[str, str]]:
    """One row of text per column, ready to print: column, kind, missing, unique, why."""
    rows = [{"column": table.target, "kind": f"target ({table.task})", "missing": "0",
             "unique": str(len(np.unique(table.y))),
             "why": "" if table.class_names is None else quoted(table.class_names)}]
    for column in table.columns:
        rows.append({"column": column.name, "kind": column.kind, "missing": str(column.n_missing),
                     "unique": str(column.n_unique) if column.n_unique else "", "why": column.reason})
    return rows


def missing_columns_error(what: str, missing: Sequence[str], available: Sequence[object]) -> WellfitError:
    """The error for columns that are not there, with the nearest name for each."""
    names = [str(a) for a in available]
    hints = [f"{near!r} for {name!r}" for name in missing[:5] if (near := nearest(name, names)) is not None]
    return WellfitError(what, received=f"missing {quoted(missing)}; the columns are {quoted(names, 12)}",
                        expected="the columns of the training table" if len(missing) > 1 else None,
                        action=f"did you mean {', '.join(hints)}?" if hints else "check the names of the columns")


def _check_size(rows: int) -> None:
    if rows < MIN_ROWS:
        raise WellfitError("The table is too small to train on.", received=plural(rows, "row"),
                           expected=f"at least {MIN_ROWS} rows with a target")


def _check_roles(frame: pd.DataFrame, target: str, group: str | None, time: str | None, drop: Sequence[str]) -> None:
    columns = list(frame.columns)
    if target not in columns:
        raise missing_columns_error(f"There is no target column {target!r}.", [target], columns)
    for role, name in (("group", group), ("time", time)):
        if name is not None and name not in columns:
            raise missing_columns_error(f"There is no {role} column {name!r}.", [name], columns)
        if name == target:
            raise WellfitError(f"The target cannot also be the {role} column.", received=name)
    dropped = [drop] if isinstance(drop, str) else list(drop)
    unknown = [name for name in dropped if name not in columns]
    if unknown:
        raise missing_columns_error("A column to drop does not exist.", unknown, columns)
    if target in dropped:
        raise WellfitError("The target cannot be dropped.", received=target)
    if group is not None and group == time:
        raise WellfitError("The group column cannot also be the time column.", received=group)


def _read_test(test: Source, target: str, group: str | None, time: str | None, notes: list[Note]) -> pd.DataFrame:
    frame, more, _ = read_with_notes(test, text=[target])
    notes += [Note(note.level, note.code, f"Test table: {note.message}") for note in more]
    needed = [name for name in (target, group, time) if name is not None and name not in frame]
    if needed:
        raise missing_columns_error("The test table lacks columns that are needed.", needed, list(frame.columns))
    return frame


def _stacked(frames: Sequence[pd.DataFrame], name: str) -> pd.Series:
    """One column of all tables; different types meet as Python objects."""
    parts = [frame[name] for frame in frames]
    if len({str(part.dtype) for part in parts}) > 1 or isinstance(parts[0].dtype, pd.CategoricalDtype):
        joined = pd.concat([part.astype(object) for part in parts], ignore_index=True)
        return joined.astype("category") if isinstance(parts[0].dtype, pd.CategoricalDtype) else joined
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _append_test(frame: pd.DataFrame, test: pd.DataFrame, columns: Sequence[Column], notes: list[Note]) -> pd.DataFrame:
    used = [column for column in columns if column.kind != "ignored"]
    missing = [column.name for column in used if column.name not in test]
    if missing:
        raise missing_columns_error("The test table lacks columns of the training table.", missing, list(test.columns))
    joined: dict[str, Any] = {}
    for column in used:
        first: Any = frame[column.name]
        second: Any
        second, n_bad, examples = coerce(test[column.name], column)
        if n_bad:
            notes.append(Note("warning", "unreadable_cells", f"Test table, column {column.name!r}: "
                              f"{plural(n_bad, 'cell')} that could not be read (such as {quoted(examples)}) "
                              "taken as missing."))
        if column.kind == "categorical":
            joined[column.name] = union_categoricals([first, second])
        else:
            joined[column.name] = np.concatenate([first.to_numpy(), np.asarray(second)])
    return pd.DataFrame(joined, copy=False)


def _groups(frames: Sequence[pd.DataFrame], group: str, is_test: np.ndarray, notes: list[Note]) -> np.ndarray:
    """The group of each row as a number; a row without one is a group of its own."""
    try:
        codes = to_words(_stacked(frames, group)).codes.copy()
    except TypeError as error:
        raise WellfitError(f"The group column {group!r} holds values that cannot be compared.",
                           expected="text or numbers") from error
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    if len(alone):
        notes.append(Note("warning", "group_missing", f"{plural(len(alone), 'row')} without a {group!r}: each is taken "
                          "as a group of its own."))
    n_groups = len(np.unique(codes))
    if n_groups == len(codes):
        notes.append(Note("warning", "group_trivial", f"Every row has a {group!r} of its own, so grouping by it "
                          "changes nothing."))
    shared = np.intersect1d(codes[is_test], codes[~is_test])
    if len(shared):
        notes.append(Note("warning", "group_in_test", f"{plural(len(shared), 'group')} of {group!r} occur in both the "
                          "training and the test table: the test score will be too good."))
    if n_groups < 3:
        raise WellfitError("Too few groups to split by.", received=f"{plural(n_groups, 'value')} of {group!r}",
                           expected="at least 3 groups, one each for training, validation and test")
    return codes


def _lookalikes(target: str, inferred: Sequence[Inferred]) -> list[Note]:
    names = [item.column.name for item in inferred
             if item.values is not None and item.column.name.casefold() == target.casefold()]
    return [Note("warning", "target_lookalike", f"Column {name!r} differs from the target {target!r} only in case. If "
                 f"it tells the same, it leaks the answer: leave it out with drop=[{name!r}].") for name in names]

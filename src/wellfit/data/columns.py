"""Decide what each column is: a number, a category, a yes/no flag, a date, or nothing a network should see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from pandas.api import types

from wellfit.data.notes import Note, plural, quoted
from wellfit.data.values import (
    FLAG_PAIRS,
    MISSING_WORDS,
    Words,
    guess_date_format,
    is_plain_text,
    to_dates,
    to_flags,
    to_numbers,
    to_words,
    word_numbers,
)

Kind: TypeAlias = Literal["numeric", "categorical", "boolean", "date", "ignored"]
Cells: TypeAlias = "np.ndarray | pd.Categorical"
NUMBER_SHARE = 0.9
TEXT_SHARE = 0.5
_ID_NAME = re.compile(r"(^|[^a-z])(id|ids|uuid|guid|idx|index|rowid|rownum|row|key|nr|no|number|record|unnamed: 0)$")
_ID_CAMEL = re.compile(r"[a-z](Id|ID|Idx|Key|Nr|No)$")

# Why a column is ignored: code -> (level, how the summary note begins).
IGNORED = {
    "empty_columns": ("info", "All cells are missing"),
    "constant_columns": ("info", "Only one value"),
    "duplicate_columns": ("info", "Exact copies of another column"),
    "id_columns": ("warning", "Look like row identifiers (id_policy='keep' keeps them)"),
    "text_columns": ("info", "Free text, more than half of the cells distinct"),
    "unreadable_columns": ("warning", "Hold values that are no table cells"),
}


@dataclass(frozen=True)
class Column:
    """What one column is taken for.

    Attributes:
        name: as in the table.
        kind: numeric, categorical, boolean, date, or ignored.
        reason: why, in a few words.
        n_missing: cells without a usable value.
        n_unique: distinct values, missing not counted.
        format: for dates written as text, how they are read.
    """

    name: str
    kind: Kind
    reason: str = ""
    n_missing: int = 0
    n_unique: int = 0
    format: str | None = None


@dataclass
class Inferred:
    """A column, its cells in a uniform type (None when ignored), why it is ignored, and what to tell."""

    column: Column
    values: Cells | None = None
    ignored: str | None = None
    notes: list[Note] = field(default_factory=list)


def looks_like_id(name: str) -> bool:
    """Whether a column's name says that it numbers the rows.

    >>> [looks_like_id(n) for n in ("id", "customerID", "order_no", "Unnamed: 0", "humidity", "paid")]
    [True, True, True, True, False, False]
    """
    return bool(_ID_NAME.search(name.lower()) or _ID_CAMEL.search(name))


def coerce(series: pd.Series, column: Column) -> tuple[Cells, int, tuple[str, ...]]:
    """The cells in the uniform type of the column's kind, how many could not be read, and examples of those.

    Numeric: float64, infinities missing. Boolean: float64 0 and 1. Date: datetime64[us]. Categorical: text categories.
    """
    if column.kind == "categorical":
        words = to_words(series)
        return pd.Categorical.from_codes(words.codes, categories=pd.Index(words.words, dtype=object)), 0, ()
    if column.kind == "date":
        return to_dates(series, column.format)
    if column.kind == "boolean":
        return to_flags(series)
    reading = to_numbers(series)
    infinite = np.isinf(reading.values)
    if infinite.any():
        reading = reading._replace(values=np.where(infinite, np.nan, reading.values))
    return reading


def infer_column(name: str, series: pd.Series, *, id_policy: str = "drop") -> Inferred:
    """Decide one column on its own; copies of other columns are found by :func:`mark_copies`."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiu":
        return _from_numbers(name, series, id_policy)
    try:
        if isinstance(dtype, pd.CategoricalDtype):
            return _from_words(name, series, to_words(series), id_policy, declared=True)
        if types.is_complex_dtype(dtype):
            return Inferred(Column(name, "ignored", "complex numbers"), ignored="unreadable_columns")
        if types.is_bool_dtype(dtype):
            return _finish(name, series, Column(name, "boolean", "true or false"))
        if types.is_numeric_dtype(dtype):
            return _from_numbers(name, series, id_policy)
        if types.is_timedelta64_dtype(dtype):
            return _finish(name, series, Column(name, "numeric", "a duration, in days"))
        if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
            return _finish(name, series, Column(name, "date", "dates"))
        if is_plain_text(series):
            return _from_words(name, series, to_words(series), id_policy)
        return _from_words(name, series, to_words(series.astype(object)), id_policy)
    except TypeError:
        example = type(series.dropna().iloc[0]).__name__ if series.notna().any() else str(dtype)
        return Inferred(Column(name, "ignored", f"cells are of type {example}"), ignored="unreadable_columns")


def _finish(name: str, series: pd.Series, column: Column) -> Inferred:
    """Count missing and distinct values; ignore a column without information."""
    values, n_bad, examples = coerce(series, column)
    notes = []
    distinct, n_missing = _distinct_and_missing(values)
    # Missing cells aside, one value may still tell something by being absent.
    column = replace(column, n_missing=n_missing, n_unique=distinct)
    if distinct == 0:
        return Inferred(replace(column, kind="ignored", reason="all cells are missing"), ignored="empty_columns")
    if distinct == 1 and n_missing == 0:
        return Inferred(replace(column, kind="ignored", reason="only one value"), ignored="constant_columns")
    if n_bad:
        what = {"numeric": "a number", "date": "a date"}.get(column.kind, "a yes/no value")
        notes.append(Note("warning", "unreadable_cells", f"Column {name!r}: {plural(n_bad, 'cell')} that could not be "
                          f"read as {what} (such as {quoted(examples)}) taken as missing."))
    return Inferred(column, values, notes=notes)


def _distinct_and_missing(values: Cells) -> tuple[int, int]:
    if isinstance(values, pd.Categorical):
        return len(values.categories), int((values.codes < 0).sum())
    absent = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
    n_missing = int(np.count_nonzero(absent))
    known = values[~absent] if n_missing else values
    return len(np.unique(known) if len(known) < 2000 else pd.unique(known)), n_missing


def _from_numbers(name: str, series: pd.Series, id_policy: str) -> Inferred:
    result = _finish(name, series, Column(name, "numeric", "numbers"))
    array = result.values
    if not isinstance(array, np.ndarray):
        return result
    infinite = int(np.isinf(to_numbers(series).values).sum()) if result.column.n_missing else 0
    if infinite:
        result.notes.append(Note("warning", "infinite_cells",
                                 f"Column {name!r}: {plural(infinite, 'infinite value')} taken as missing."))
    n = len(array)
    if result.column.n_unique == n and _whole(array):
        steps = np.diff(array)
        counter = bool((steps == 1).all() or (steps == -1).all())
        if looks_like_id(name):
            if id_policy == "drop":
                column = replace(result.column, kind="ignored", reason="a different whole number in every row")
                return Inferred(column, ignored="id_columns")
            result.column = replace(result.column, reason="numbers; looks like a row identifier")
        elif counter:
            result.column = replace(result.column, reason="numbers; counts the rows")
            result.notes.append(Note("warning", "row_counter", f"Column {name!r} counts the rows one by one. If it "
                                     f"only numbers them, leave it out with drop=[{name!r}]."))
    elif looks_like_id(name) and result.column.n_unique >= 0.05 * n and _whole(array):
        result.notes.append(_group_hint(name, result.column.n_unique))
    return result


def _whole(array: np.ndarray) -> bool:
    known = array[~np.isnan(array)]
    return bool((known == np.round(known)).all())


def _group_hint(name: str, n_unique: int) -> Note:
    return Note("warning", "maybe_group", f"Column {name!r} names {n_unique} different things, some of them "
                f"repeatedly. If rows of one {name!r} belong together, pass group={name!r}: they are then never split.")


def _from_words(name: str, series: pd.Series, words: Words, id_policy: str, *, declared: bool = False) -> Inferred:
    """Text, read in this order: numbers, yes/no, dates, identifiers and free text, categories."""
    counts = np.bincount(words.codes[words.codes >= 0], minlength=len(words.words))
    if not declared:
        kind, as_missing = _numbers_or_flags(words, counts)
        if kind is not None:
            inferred = _finish(name, series, replace(kind, name=name))
            if as_missing and inferred.values is not None:
                inferred.notes.append(Note("info", "missing_words", f"Column {name!r}: {quoted(as_missing, 3)} "
                                           "taken as missing."))
            return inferred
        date = guess_date_format(words.words, counts)
        if date is not None:
            inferred = _finish(name, series, Column(name, "date", f"dates, {date.format}", format=date.format))
            if date.ambiguous and inferred.values is not None:
                inferred.notes.append(Note("warning", "ambiguous_dates", f"Column {name!r}: day and month could be "
                                           f"swapped; dates were read as {date.format}."))
            return inferred
    result = _finish(name, series, Column(name, "categorical", "declared categories" if declared else "text"))
    known = int(counts.sum())
    if result.values is None or declared:
        return result
    distinct = len(words.words)
    if distinct == known and known > TEXT_SHARE * len(series):
        if id_policy == "drop":
            column = replace(result.column, kind="ignored", reason="a different text in every row")
            return Inferred(column, ignored="id_columns")
        result.column = replace(result.column, reason="text; looks like a row identifier")
    elif distinct > TEXT_SHARE * known and distinct > 2:
        reason = f"free text, {distinct} different in {known}"
        return Inferred(replace(result.column, kind="ignored", reason=reason), ignored="text_columns")
    elif looks_like_id(name) and distinct >= 0.05 * known:
        result.notes.append(_group_hint(name, distinct))
    return result


def _numbers_or_flags(words: Words, counts: np.ndarray) -> tuple[Column | None, list[str]]:
    """The column if it is numeric or yes/no, and the words in it that mean "not known"."""
    numbers, bad = word_numbers(words.words)
    missing = [word for word in words.words if word.casefold() in MISSING_WORDS]
    n_numbers, n_bad = int(counts[~np.isnan(numbers)].sum()), int(counts[bad].sum())
    if n_numbers and n_numbers >= NUMBER_SHARE * (n_numbers + n_bad):
        return Column("", "numeric", "numbers written as text"), missing
    lower = {word.casefold() for word in words.words if word not in missing}
    for pair in FLAG_PAIRS:
        if lower == set(pair):
            return Column("", "boolean", f"{pair[1]} or {pair[0]}"), missing
    return None, []


def mark_copies(inferred: Sequence[Inferred]) -> None:
    """Ignore, in place, every column whose cells all equal those of an earlier one."""
    seen: dict[tuple[object, ...], list[Inferred]] = {}
    for item in inferred:
        if item.values is None:
            continue
        key = (item.column.kind, item.column.n_unique, item.column.n_missing, hash(_content(item.values).tobytes()))
        for earlier in seen.setdefault(key, []):
            if earlier.values is not None and _same(earlier.values, item.values):
                item.column = replace(item.column, kind="ignored", reason=f"same values as {earlier.column.name!r}")
                item.values, item.ignored, item.notes = None, "duplicate_columns", []
                break
        else:
            seen[key].append(item)


def _content(values: Cells) -> np.ndarray:
    return values.codes if isinstance(values, pd.Categorical) else values


def _same(first: Cells, second: Cells) -> bool:
    if isinstance(first, pd.Categorical) and isinstance(second, pd.Categorical) and \
            list(first.categories) != list(second.categories):
        return False
    return _content(first).tobytes() == _content(second).tobytes()


def ignored_notes(inferred: Sequence[Inferred]) -> list[Note]:
    """One note per reason, naming the columns ignored for it."""
    notes = []
    for code, (level, text) in IGNORED.items():
        names = [item.column.name for item in inferred if item.ignored == code]
        if names:
            notes.append(Note("warning" if level == "warning" else "info", code,
                              f"{plural(len(names), 'column')} ignored: {quoted(names)}. {text}."))
    return notes

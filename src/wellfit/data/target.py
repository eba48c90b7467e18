"""Read the target column: which task it poses, its classes in order, and its values as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from pandas.api import types

from wellfit.core.errors import WellfitError, nearest
from wellfit.data.notes import Note, plural, quoted
from wellfit.data.values import natural_key, to_dates, to_numbers, to_words, word_numbers

Task: TypeAlias = Literal["binary", "multiclass", "regression"]
Label: TypeAlias = "bool | int | float | str"
TASKS = ("binary", "multiclass", "regression", "classification")
MAX_INTEGER_CLASSES = 20
INTEGER_CLASS_SHARE = 0.05
FEW_ROWS = 5
LARGEST = 1e100


@dataclass(frozen=True)
class Target:
    """The target of the rows that have one.

    ``y`` holds class indices (int64) or values (float64) of the rows ``rows``; ``class_names`` are the labels as
    written in the source.
    """

    task: Task
    y: np.ndarray
    rows: np.ndarray
    classes: tuple[Label, ...] | None
    class_names: tuple[str, ...] | None
    notes: tuple[Note, ...]


@dataclass
class _Labels:
    """Row by row an index into ``names`` (-1: missing); ``numbers`` when every label is a number."""

    codes: np.ndarray
    names: list[str]
    numbers: np.ndarray | None
    numeric: bool
    flags: bool = False


def infer_task(values: np.ndarray) -> Task:
    """The task that a column of numbers poses.

    Two distinct values: binary. Whole numbers with at most 20 distinct values, and at least 20 rows per distinct value
    on average: multiclass. Anything else: regression. (A target of text, booleans or categories is always classes.)

    >>> infer_task(np.arange(150) % 3), infer_task(np.arange(150) % 3 + 0.5), infer_task(np.arange(150) % 28)
    ('multiclass', 'regression', 'regression')
    """
    distinct = np.unique(values)
    if len(distinct) == 2:
        return "binary"
    whole = bool((distinct == np.round(distinct)).all())
    few = len(distinct) <= min(MAX_INTEGER_CLASSES, INTEGER_CLASS_SHARE * len(values))
    return "multiclass" if whole and few else "regression"


def read_target(raw: pd.Series, task: str | None = None, is_test: np.ndarray | None = None) -> Target:
    """The target of all rows; ``is_test`` marks rows whose labels must also occur among the other rows."""
    if task is not None and task not in TASKS:
        close = nearest(task, TASKS)
        raise WellfitError("This task is not known.", received=task, expected=", ".join(TASKS),
                           action=f"did you mean {close!r}?" if close else None)
    name = str(raw.name)
    notes: list[Note] = []
    labels = _labels(raw, name)
    if task is None:
        task = _inferred(labels, name, notes)
    if task == "regression":
        return _regression(raw, labels, name, notes, is_test)
    return _classification(labels, name, task, notes, is_test)


def _labels(raw: pd.Series, name: str) -> _Labels:
    dtype = raw.dtype
    declared = isinstance(dtype, pd.CategoricalDtype)
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        raise WellfitError(f"The target {name!r} is a date.", received=str(dtype), expected="classes or numbers",
                           action="turn it into a number first, e.g. the days until it")
    if not declared and types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype):
        values = to_numbers(raw).values
        values = np.where(np.isinf(values), np.nan, values)
        distinct, codes = np.unique(values, return_inverse=True)
        keep = ~np.isnan(distinct)
        codes = np.where(np.isnan(values), -1, codes.reshape(-1))
        numbers = distinct[keep]
        return _Labels(codes.astype(np.int64), [str(_plain(v)) for v in numbers], numbers, numeric=True)
    try:
        words = to_words(raw)
    except TypeError as error:
        raise WellfitError(f"The target {name!r} holds values that are neither numbers nor labels.",
                           expected="numbers, text or booleans") from error
    if {word.casefold() for word in words.words} <= {"true", "false"}:
        return _Labels(words.codes, words.words, None, numeric=False, flags=True)
    numbers, bad = word_numbers(words.words)
    if bad.any() or np.isnan(numbers).all():
        return _Labels(words.codes, words.words, None, numeric=False)
    known = np.isfinite(numbers)
    remap = np.append(np.where(known, np.cumsum(known) - 1, -1), -1)
    names = [word for word, ok in zip(words.words, known, strict=True) if ok]
    return _Labels(remap[words.codes], names, numbers[known], numeric=not declared)


def _inferred(labels: _Labels, name: str, notes: list[Note]) -> str:
    if not labels.numeric or labels.numbers is None:
        return "classification"
    values = labels.numbers[labels.codes[labels.codes >= 0]]
    distinct = np.unique(values)
    if len(distinct) < 2:
        return "classification"  # a single value is refused there, in words that fit both
    task = infer_task(values)
    if task == "multiclass":
        notes.append(Note("info", "task_inferred", f"{name!r} has {len(distinct)} distinct whole numbers, taken as "
                          "classes; task='regression' treats them as amounts."))
    elif task == "regression" and len(distinct) <= 30 and bool((distinct == np.round(distinct)).all()):
        notes.append(Note("info", "task_inferred", f"{name!r} has {len(distinct)} distinct whole numbers in "
                          f"{len(values)} rows, taken as amounts; task='multiclass' treats them as classes."))
    return "classification" if task != "regression" else task


def _drop_missing(codes: np.ndarray, name: str, notes: list[Note]) -> np.ndarray:
    rows = np.flatnonzero(codes >= 0)
    lost = len(codes) - len(rows)
    if len(rows) == 0:
        raise WellfitError(f"The target {name!r} is missing in every row.", expected="a value in at least 10 rows",
                           action="choose another target, or check how missing cells are written")
    if lost:
        notes.append(Note("warning" if lost > 0.05 * len(codes) else "info", "target_missing",
                          f"{plural(lost, 'row')} of {len(codes)} left out because the target {name!r} is missing."))
    return rows


def _regression(raw: pd.Series, labels: _Labels, name: str, notes: list[Note], is_test: np.ndarray | None) -> Target:
    if labels.numbers is not None:
        values = np.append(labels.numbers, np.nan)[labels.codes]
    else:
        reading = to_numbers(raw)
        values = np.where(np.isinf(reading.values), np.nan, reading.values)
        if reading.n_bad > 0.1 * max(1, int((labels.codes >= 0).sum())):
            raise WellfitError(f"The target {name!r} is not numeric, so it cannot be a regression target.",
                               received=f"values such as {quoted(reading.examples)}", expected="numbers",
                               action="task='classification', or choose another target")
        if reading.n_bad:
            notes.append(Note("warning", "unreadable_cells", f"The target {name!r} has {plural(reading.n_bad, 'cell')} "
                              f"that are no number (such as {quoted(reading.examples)}); these rows are left out."))
    rows = _drop_missing(np.where(np.isnan(values), -1, 0), name, notes)
    y = values[rows]
    fitted = y if is_test is None else y[~is_test[rows]]
    if len(np.unique(fitted)) < 2:
        raise WellfitError(f"The target {name!r} has the same value in every row.",
                           received=f"{fitted[0]:g}" if len(fitted) else "no rows", expected="at least two values")
    if np.abs(y).max() > LARGEST:
        raise WellfitError(f"The target {name!r} has values too large to compute with.",
                           received=f"{np.abs(y).max():g}", expected=f"at most {LARGEST:g}",
                           action="divide it by a constant, take its logarithm, or correct the value")
    return Target("regression", y, rows, None, None, tuple(notes))


def _classification(labels: _Labels, name: str, task: str, notes: list[Note], is_test: np.ndarray | None) -> Target:
    rows = _drop_missing(labels.codes, name, notes)
    codes = labels.codes[rows]
    present = np.unique(codes)
    keyed: dict[Label, list[int]] = {}
    for code in present:
        keyed.setdefault(_label(labels, int(code)), []).append(int(code))
    classes = sorted(keyed, key=_order)
    remap = np.full(len(labels.names), -1, dtype=np.int64)
    for position, label in enumerate(classes):
        remap[keyed[label]] = position
    y = remap[codes]
    names = tuple(labels.names[keyed[label][0]] for label in classes)
    fitted = np.ones(len(y), dtype=bool) if is_test is None else ~is_test[rows]
    counts = np.bincount(y[fitted], minlength=len(classes))
    _check_classes(name, task, names, counts, notes)
    folded: dict[str, list[str]] = {}
    for text in names:
        folded.setdefault(" ".join(text.casefold().split()), []).append(text)
    alike = [texts for texts in folded.values() if len(texts) > 1]
    if alike:
        notes.append(Note("warning", "similar_classes", f"Labels of {name!r} that differ only in case or spaces are "
                          f"kept as different classes: {'; '.join(quoted(texts) for texts in alike[:3])}."))
    if task == "multiclass" and len(classes) == 2:
        notes.append(Note("info", "task_inferred", f"{name!r} has two classes, so the task is binary."))
    return Target("binary" if len(classes) == 2 else "multiclass", y, rows, tuple(classes), names, tuple(notes))


def _check_classes(name: str, task: str, names: Sequence[str], counts: np.ndarray, notes: list[Note]) -> None:
    known = [n for n, count in zip(names, counts, strict=True) if count]
    if len(known) < 2:
        raise WellfitError(f"The target {name!r} has a single class.", received=quoted(known),
                           expected="at least two classes",
                           action="choose another target, or add rows of other classes")
    if len(known) < len(names):
        strange = [n for n, count in zip(names, counts, strict=True) if not count]
        raise WellfitError("The test table has classes that never occur in the training table.",
                           received=quoted(strange), expected=quoted(known),
                           action="correct the spelling of the labels or leave these rows out")
    if task == "binary" and len(names) != 2:
        raise WellfitError("A binary task needs a target with exactly two classes.",
                           received=f"{len(names)} classes: {quoted(names)}", expected="2 classes",
                           action="task='multiclass', or merge classes")
    single = [n for n, count in zip(names, counts, strict=True) if count == 1]
    if single:
        many = len(single) > 0.5 * len(names) and len(names) > 10
        raise WellfitError(
            f"A class of the target {name!r} has a single row." if len(single) == 1 else
            f"{len(single)} classes of the target {name!r} have a single row each.",
            received=quoted(single), expected=f"at least 2 rows per class; at least {FEW_ROWS} are recommended",
            action="choose another target: this one looks like free text or an identifier" if many else
            "merge the rare class with a similar one or drop its rows; "
            f"at least {FEW_ROWS} rows per class is recommended")
    few = [f"{n} ({count})" for n, count in zip(names, counts, strict=True) if count < FEW_ROWS]
    if few:
        notes.append(Note("warning", "rare_class", f"Classes with fewer than {FEW_ROWS} rows: {quoted(few)}. Their "
                          "scores will be very uncertain; merging or dropping them is recommended."))


def _plain(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number


def _label(labels: _Labels, code: int) -> Label:
    if labels.flags:
        return labels.names[code].casefold() == "true"
    if labels.numbers is not None:
        return _plain(labels.numbers[code])
    return labels.names[code]


def _order(label: Label) -> Any:
    return natural_key(label) if isinstance(label, str) else label


def read_times(raw: pd.Series) -> np.ndarray:
    """When each row happened, as float64 (microseconds for dates): only the order counts."""
    name = str(raw.name)
    values = None
    examples: tuple[str, ...] = ()
    try:
        if not types.is_datetime64_any_dtype(raw.dtype) and not isinstance(raw.dtype, pd.PeriodDtype):
            numbers = to_numbers(raw)
            values, examples = (numbers.values if numbers.n_bad == 0 else None), numbers.examples
        for date_format in ("ISO8601", "%Y/%m/%d", "%d.%m.%Y") if values is None else ():
            dates = to_dates(raw, date_format)
            if dates.n_bad == 0:
                stamps = dates.values.astype("datetime64[us]")
                values = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64).astype(np.float64))
                break
    except TypeError:
        pass
    if values is None:
        raise WellfitError(f"The time column {name!r} holds values that are neither numbers nor dates.",
                           received=f"values such as {quoted(examples)}" if examples else str(raw.dtype),
                           expected="numbers, or dates written like 2024-01-31 or 2024-01-31 12:00")
    if bool(np.isnan(values).any()):
        raise WellfitError(f"The time column {name!r} has missing values.", received=f"{int(np.isnan(values).sum())} "
                           f"of {len(values)} rows", expected="a time in every row", action="fill or drop these rows")
    return values

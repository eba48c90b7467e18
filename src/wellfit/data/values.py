"""Read the cells of one column as words, numbers, yes/no flags or dates.

Every function looks at the distinct values only and then spreads the answer over the rows, so long columns are quick.
What cannot be read becomes missing and is counted, never an error: the caller decides what to say about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types

# Spellings of "not known" that are missing inside a column of numbers, flags or dates. In a column of categories they
# stay what they are: a category.
MISSING_WORDS = frozenset({"", "?", "-", "--", ".", "na", "n/a", "n.a.", "nan", "null", "none", "nil", "missing",
                           "unknown", "#n/a", "<na>", "nat"})
FLAG_PAIRS = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"), ("off", "on"))
FLAG_WORDS = {word: float(value) for pair in (*FLAG_PAIRS, ("0", "1")) for value, word in enumerate(pair)}
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
# a price or a percentage: the sign before or after the currency, which may also stand behind
_WITH_UNIT = re.compile(r"([-+]?)\s*[$€£¥₹]?\s*([-+]?(?:\d[\d,]*\.?\d*|\.\d+))\s*[$€£¥₹%]?")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{1,2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?\s*(Z|[-+]\d{2}:?(\d{2})?)?)?")
_DATE_LIKE = re.compile(r"\d{1,4}[/.]\d{1,2}[/.]\d{1,4}(\s+\d{1,2}:\d{2}(:\d{2})?)?")
_DATE_FORMATS = tuple(day + time for day in ("%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
                      for time in ("", " %H:%M", " %H:%M:%S"))


class Words(NamedTuple):
    """Row by row an index into ``words`` (-1: missing); the words are distinct and stripped of outer spaces."""

    codes: np.ndarray
    words: list[str]


class Reading(NamedTuple):
    """Values with missing ones as NaN or NaT, how many cells could not be read, and a few of those."""

    values: np.ndarray
    n_bad: int = 0
    examples: tuple[str, ...] = ()


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key in which numbers inside a text count as numbers.

    >>> sorted(["c10", "c2", "B1"], key=natural_key)
    ['B1', 'c2', 'c10']
    """
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part] + [
        (2, 0, text)]


def is_plain_text(series: pd.Series) -> bool:
    """Whether a column holds Python objects or strings, so that its meaning must be read from the words."""
    dtype = series.dtype
    return bool(types.is_object_dtype(dtype) or types.is_string_dtype(dtype)) and not isinstance(
        dtype, pd.CategoricalDtype)


def as_text(value: Any) -> str:
    """The text of one cell, the same whether it was read as a number or as a word.

    >>> as_text(2.0), as_text(" red "), as_text(True)
    ('2', 'red', 'True')
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else str(number)
    return str(value).strip()


def to_words(series: pd.Series) -> Words:
    """The distinct texts of a column. Raises TypeError when it holds lists or other unhashable things."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes, values = np.asarray(series.cat.codes, dtype=np.int64), series.cat.categories
        used = np.zeros(len(values) + 1, dtype=bool)
        used[codes] = True
    else:
        raw_codes, values = pd.factorize(series)
        codes, used = raw_codes.astype(np.int64), np.ones(len(values) + 1, dtype=bool)
    index: dict[str, int] = {}
    remap = np.full(len(values) + 1, -1, dtype=np.int64)
    for position, value in enumerate(values.tolist() if hasattr(values, "tolist") else list(values)):
        if not used[position]:
            continue
        text = as_text(value)
        if text:
            remap[position] = index.setdefault(text, len(index))
    return Words(remap[codes], list(index))


def _spread(words: Words, values: np.ndarray, bad: Sequence[bool] | np.ndarray, missing: Any) -> Reading:
    """Values per word, spread over the rows; ``bad`` marks the words that could not be read."""
    bad = np.asarray(bad, dtype=bool)
    per_row = np.append(values, missing)[words.codes]
    counts = np.bincount(words.codes[words.codes >= 0], minlength=len(words.words))
    examples = tuple(words.words[i] for i in np.flatnonzero(bad)[:3])
    return Reading(per_row, int(counts[bad].sum()), examples)


def word_numbers(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Each word as a number (NaN when it is none) and whether it is neither a number nor a word for missing.

    Currency and percent signs are left out: "-$1,200" is -1200, "7%" is 7.

    >>> word_numbers(["1.5", "1,200", "-$1,200", "7 %", "?", "red"])[0].tolist()
    [1.5, 1200.0, -1200.0, 7.0, nan, nan]
    """
    numbers, bad = np.full(len(words), np.nan), np.zeros(len(words), dtype=bool)
    for position, word in enumerate(words):
        number = _number(word)
        if number is None and (found := _WITH_UNIT.fullmatch(word)):
            number = _number(found[1] + found[2])
        if number is None:
            bad[position] = word.casefold() not in MISSING_WORDS
        else:
            numbers[position] = number
    return numbers, bad


def _number(word: str) -> float | None:
    try:
        # Python reads every digit exactly, which pandas before version 3 does not; 1_000 is its own notation.
        return float(word if "_" not in word else "")
    except ValueError:
        return float(word.replace(",", "")) if _THOUSANDS.fullmatch(word) else None


def to_numbers(series: pd.Series) -> Reading:
    """A column as float64. Text that is no number is missing and counted; a duration becomes days."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return Reading(np.array(series, dtype=np.float64))
    if types.is_timedelta64_dtype(dtype):
        return Reading(np.asarray(series.dt.total_seconds(), dtype=np.float64) / 86400)
    if (types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)) and not types.is_complex_dtype(dtype) \
            and not isinstance(dtype, pd.CategoricalDtype):
        return Reading(np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan)))
    words = to_words(series)
    numbers, bad = word_numbers(words.words)
    return _spread(words, numbers, bad, np.nan)


def to_flags(series: pd.Series) -> Reading:
    """A yes/no column as 1.0, 0.0 and NaN. Understands booleans, 0 and 1, and yes/no, true/false, y/n, t/f, on/off."""
    if types.is_bool_dtype(series.dtype) and not isinstance(series.dtype, pd.CategoricalDtype):
        return to_numbers(series)
    words = to_words(series)
    lower = [word.casefold() for word in words.words]
    values = np.array([FLAG_WORDS.get(word, np.nan) for word in lower], dtype=np.float64)
    return _spread(words, values, [word not in FLAG_WORDS and word not in MISSING_WORDS for word in lower], np.nan)


def to_dates(series: pd.Series, date_format: str | None = None) -> Reading:
    """A column as datetime64[us] in UTC without a zone. Plain numbers are never dates: they count as unreadable."""
    dtype = series.dtype
    if isinstance(dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
        dtype = series.dtype
    if types.is_datetime64_any_dtype(dtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(dtype, "tz", None) else series
        return Reading(np.asarray(series.to_numpy(), dtype="datetime64[us]"))
    if types.is_numeric_dtype(dtype):
        return Reading(np.full(len(series), np.datetime64("NaT"), dtype="datetime64[us]"), int(series.notna().sum()),
                       tuple(as_text(v) for v in series.dropna().head(3)))
    words = to_words(series)
    dates = word_dates(words.words, date_format)
    bad = np.isnat(dates) & np.array([word.casefold() not in MISSING_WORDS for word in words.words], dtype=bool)
    return _spread(words, dates, bad, np.datetime64("NaT", "us"))


def word_dates(words: Sequence[str], date_format: str | None = None) -> np.ndarray:
    """Each word as a date in one format (None or "ISO8601": the ISO forms), NaT when it is none."""
    iso = date_format in (None, "ISO8601")
    shape = _ISO if iso else _DATE_LIKE
    candidates = pd.Series([word if shape.fullmatch(word) else None for word in words], dtype=object)
    dates = pd.to_datetime(candidates, format="ISO8601" if iso else date_format, errors="coerce", utc=True)
    return np.asarray(dates.dt.tz_localize(None).to_numpy(), dtype="datetime64[us]")


class DateFormat(NamedTuple):
    """A format that reads nearly all words as dates; ``ambiguous`` when day and month could be swapped."""

    format: str
    ambiguous: bool


def guess_date_format(words: Sequence[str], counts: np.ndarray, enough: float = 0.95) -> DateFormat | None:
    """The date format that reads at least ``enough`` of the cells, or None.

    >>> guess_date_format(["2024-01-31", "2024-02-01"], np.array([1, 1]))
    DateFormat(format='ISO8601', ambiguous=False)
    """
    known = np.array([word.casefold() not in MISSING_WORDS for word in words], dtype=bool)
    total = counts[known].sum()
    head = [word for word, ok in zip(words[:50], known, strict=False) if ok]

    def share(texts: Iterable[str], shape: re.Pattern[str]) -> float:
        hits = [bool(shape.fullmatch(text)) for text in texts]
        return sum(hits) / max(1, len(hits))

    def reads(date_format: str) -> bool:
        dates = word_dates(words, date_format)
        return total > 0 and float(counts[~np.isnat(dates)].sum()) >= enough * float(total)

    if share(head, _ISO) >= 0.5 and reads("ISO8601"):
        return DateFormat("ISO8601", False)
    if share(head, _DATE_LIKE) < 0.5:
        return None
    fitting = [date_format for date_format in _DATE_FORMATS if reads(date_format)]
    if not fitting:
        return None
    return DateFormat(fitting[0], len(fitting) > 1)

"""Recognise a table again: a hash of its content that does not depend on the file format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
from pandas.api import types

from wellfit.data.values import is_plain_text, to_dates, to_numbers, to_words, word_numbers


def sha256_of(frames: Iterable[pd.DataFrame]) -> str:
    """SHA-256 of the column names, types (number, flag, date, text) and values of one or several tables.

    The same table gives the same hash from csv, parquet or memory, with any version of pandas: whole numbers and
    floats are one type, and a column of text that reads as numbers counts as numbers.

    >>> a, b = pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": ["1", "2.0"]})
    >>> sha256_of([a]) == sha256_of([b])
    True
    """
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"table {frame.shape[0]} {frame.shape[1]}\n".encode())
        for name, series in frame.items():
            kind, parts = _content(series)
            digest.update(f"{len(str(name))} {name} {kind}\n".encode(errors="surrogatepass"))
            for part in parts:
                digest.update(part)
    return digest.hexdigest()


def _content(series: pd.Series) -> tuple[str, list[bytes]]:
    dtype = series.dtype
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        dates = to_dates(series).values
        return "date", [np.ascontiguousarray(dates.astype(np.int64), dtype="<i8").tobytes()]
    if not is_plain_text(series) and not isinstance(dtype, pd.CategoricalDtype):
        try:
            return "flag" if types.is_bool_dtype(dtype) else "number", [_bytes(to_numbers(series).values)]
        except (TypeError, ValueError):
            return "text", [repr(list(series)).encode()]
    try:
        words = to_words(series)
    except TypeError:
        return "text", [repr(list(series)).encode()]
    lower = [word.casefold() for word in words.words]
    if lower and set(lower) <= {"true", "false"}:
        flags = np.array([float(word == "true") for word in lower] + [np.nan])
        return "flag", [_bytes(flags[words.codes])]
    numbers, _ = word_numbers(words.words)
    if not np.isnan(numbers).any():
        return "number", [_bytes(np.append(numbers, np.nan)[words.codes])]
    order = np.argsort(np.array(words.words, dtype=object))
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order], rank[-1] = np.arange(len(order)), -1
    texts = "".join(f"{len(words.words[i])} {words.words[i]}\n" for i in order)
    codes = np.ascontiguousarray(rank[words.codes], dtype="<i8")
    return "text", [texts.encode(errors="surrogatepass"), codes.tobytes()]


def _bytes(values: np.ndarray) -> bytes:
    """The same bytes for equal numbers: one NaN, one zero, little-endian."""
    values = np.asarray(values, dtype="<f8") + 0.0
    values[np.isnan(values)] = np.nan
    return np.ascontiguousarray(values).tobytes()

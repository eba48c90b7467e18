"""How one kind of column becomes numbers. Each encoder is fitted once, then only maps; its state is plain JSON data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from wellfit.data.values import natural_key

LIMIT = 1e100  # keeps sums and squares of absurd values finite
CLIP = 1e4
SMALLEST_BIN_SCALE = 0.1
COARSE = 8  # bins, also of a column that has too few different values for more


def smooth_clip(x: np.ndarray) -> np.ndarray:
    """x / sqrt(1 + (x/3)²): nearly x between -1 and 1, never beyond ±3.

    >>> smooth_clip(np.array([0.0, 1.0, 1e9])).round(2).tolist()
    [0.0, 0.95, 3.0]
    """
    return x / np.sqrt(1.0 + np.square(x / 3.0))


def _quantiles(ordered: np.ndarray, known: np.ndarray, share: float) -> np.ndarray:
    """The quantile of each column of a matrix sorted along its rows, with ``known`` values on top (linear)."""
    position = np.maximum(known - 1, 0) * share
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    columns = np.arange(ordered.shape[1])
    first, second = ordered[low, columns], ordered[high, columns]
    return first + (second - first) * (position - low)


def _indicators(x: np.ndarray, known: np.ndarray) -> list[int]:
    """Columns with missing cells, one for each pattern of rows."""
    patterns: dict[bytes, int] = {}
    for i in np.flatnonzero(known < len(x)):
        patterns.setdefault(np.packbits(np.isnan(x[:, i])).tobytes(), int(i))
    return list(patterns.values())


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges of at most so many bins for sorted values: quantiles, and every value that more than a bin's share of the rows have.

    A bin needs more than one different value: with fewer values than bins there are :data:`COARSE` bins, with fewer still none.

    >>> bin_edges(np.arange(17.0), 4).tolist()
    [0.0, 4.0, 8.0, 12.0, 16.0]
    >>> bin_edges(np.array([0.0] * 90 + list(range(1, 17))), 4).round(1).tolist()
    [0.0, 1.0, 6.0, 11.0, 16.0]
    """
    different, counts = np.unique(values, return_counts=True)
    bins = bins if len(different) > bins else min(COARSE, bins)
    if len(different) <= bins:
        return np.empty(0)
    frequent = different[counts > len(values) / bins]
    others = values[~np.isin(values, frequent)] if len(frequent) else values
    edges = np.quantile(others, np.linspace(0, 1, bins - len(frequent) + 1))
    edges = np.unique(np.concatenate([edges, frequent]))
    real = np.diff(edges) > 1e-9 * (edges[-1] - edges[0])
    edges = edges[np.concatenate([[True], real])]
    return edges if len(edges) > 2 else edges[:0]


@dataclass
class Numbers:
    """All numeric columns at once: fill, scale, say what was missing, and optionally piecewise-linear bins.

    Robust scaling follows RealMLP: z = smooth_clip((x - median) / IQR), with half the range where the inter-quartile
    range is zero. Bins follow Gorishniy et al. 2022, "On Embeddings for Numerical Features": between quantiles b_t of
    the fitted rows, clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1), here centred, divided by max(deviation, 0.1) and
    smoothly clipped. A value that fills more than its share of the rows (the zeros of an amount) is an edge of its own and
    leaves the quantiles to the others, which would all fall together on it otherwise. A column needs more different values
    than bins; with fewer it gets 8 bins, or none.

    Attributes:
        fill: median per column, taken where a cell is missing.
        center, scale: z = (x - center) * scale before clipping; scale 0 for a constant column.
        smooth: whether z is smoothly clipped.
        indicator: columns that get a second output, 1 where the cell is missing; of columns that were always missing
            together only the first one.
        bin_column, bin_lower, bin_width, bin_mean, bin_scale: one entry per bin.
    """

    fill: list[float]
    center: list[float]
    scale: list[float]
    smooth: bool
    indicator: list[int]
    bin_column: list[int]
    bin_lower: list[float]
    bin_width: list[float]
    bin_mean: list[float]
    bin_scale: list[float]

    @classmethod
    def fit(cls, x: np.ndarray, *, scaling: str, n_bins: int) -> Numbers:
        """Fit on float64 values of shape (rows, columns) with NaN where missing; ``n_bins`` 0 makes no bins."""
        x = np.clip(x, -LIMIT, LIMIT)
        ordered = np.sort(x, axis=0)  # NaN last
        known = (~np.isnan(ordered)).sum(axis=0)
        ordered = np.where(np.isnan(ordered), 0.0, ordered)
        median = _quantiles(ordered, known, 0.5)
        spread = _quantiles(ordered, known, 0.75) - _quantiles(ordered, known, 0.25)
        lowest, highest = _quantiles(ordered, known, 0.0), _quantiles(ordered, known, 1.0)
        filled = np.where(np.isnan(x), median, x)
        if scaling == "robust":
            center, width = median, np.where(spread > 0, spread, (highest - lowest) / 2)
        else:
            center, width = filled.mean(axis=0), filled.std(axis=0)
            width = np.where(highest > lowest, width, 0.0)
        scale = np.divide(1.0, width, out=np.zeros_like(width), where=width > 1e-300)
        encoder = cls(median.tolist(), center.tolist(), scale.tolist(), scaling == "robust",
                      _indicators(x, known), [], [], [], [], [])
        if n_bins and x.shape[1]:
            encoder._fit_bins(filled, ordered, known, n_bins)
        return encoder

    def _fit_bins(self, filled: np.ndarray, ordered: np.ndarray, known: np.ndarray, n_bins: int) -> None:
        self.bin_column, self.bin_lower, self.bin_width = [], [], []
        for column, count in enumerate(known.tolist()):
            edges = bin_edges(ordered[:count, column], n_bins)
            self.bin_column += [column] * len(edges[:-1])
            self.bin_lower += edges[:-1].tolist()
            self.bin_width += np.diff(edges).tolist()
        raw = self._bins(filled)
        self.bin_mean = raw.mean(axis=0).tolist()
        self.bin_scale = (1.0 / np.maximum(raw.std(axis=0), SMALLEST_BIN_SCALE)).tolist()

    def _bins(self, filled: np.ndarray) -> np.ndarray:
        lower, width = np.array(self.bin_lower), np.array(self.bin_width)
        return np.clip((filled[:, self.bin_column] - lower) / width, 0.0, 1.0)

    def outputs(self, columns: Sequence[str]) -> list[tuple[int, str]]:
        """Source column number and name of every output."""
        named = [(i, name) for i, name in enumerate(columns)]
        named += [(i, f"{columns[i]} (missing)") for i in self.indicator]
        seen: dict[int, int] = {}
        for i in self.bin_column:
            seen[i] = seen.get(i, 0) + 1
            named.append((i, f"{columns[i]} (bin {seen[i]})"))
        return named

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Values of shape (rows, outputs)."""
        x = np.clip(x, -LIMIT, LIMIT)
        absent = np.isnan(x)
        filled = np.where(absent, np.array(self.fill), x)
        z = np.clip((filled - np.array(self.center)) * np.array(self.scale), -CLIP, CLIP)
        parts = [smooth_clip(z) if self.smooth else z, absent[:, self.indicator].astype(np.float64)]
        if self.bin_column:
            parts.append(smooth_clip((self._bins(filled) - np.array(self.bin_mean)) * np.array(self.bin_scale)))
        return np.concatenate(parts, axis=1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Categories:
    """One column of categories as one output per category, 1 where it applies.

    With exactly two possibilities there is a single output, -1 for the first and +1 for the second. Categories that
    were too rare or never seen share the output "other" if some were too rare in fitting, else they are all zeros.
    """

    levels: list[str]
    missing: bool
    other: bool

    @classmethod
    def fit(cls, values: pd.Categorical, max_categories: int) -> Categories:
        """The most frequent categories of the fitted rows, in natural order."""
        counts = np.bincount(values.codes[values.codes >= 0], minlength=len(values.categories))
        seen = [(str(name), int(count)) for name, count in zip(values.categories, counts, strict=True) if count]
        seen.sort(key=lambda item: (-item[1], natural_key(item[0])))
        levels = sorted((name for name, _ in seen[:max_categories]), key=natural_key)
        return cls(levels, bool((values.codes < 0).any()), len(seen) > max_categories)

    @property
    def _slots(self) -> list[str]:
        return self.levels + ["(missing)"] * self.missing + ["(other)"] * self.other

    def outputs(self, column: str) -> list[str]:
        """Name of every output."""
        slots = self._slots
        return [f"{column}={slot}" for slot in (slots[1:] if len(slots) == 2 else slots)]

    def transform(self, values: pd.Categorical) -> np.ndarray:
        """Values of shape (rows, outputs). Unknown spellings are tried once more without regard to case."""
        exact = {name: i for i, name in enumerate(self.levels)}
        folded: dict[str, int | None] = {}
        for i, name in enumerate(self.levels):
            folded[name.casefold()] = None if name.casefold() in folded else i
        nothing = len(self._slots)
        other = nothing - 1 if self.other else nothing
        slot_of = np.empty(len(values.categories) + 1, dtype=np.int64)
        for position, name in enumerate(values.categories):
            slot = exact.get(name, folded.get(str(name).casefold()))
            slot_of[position] = other if slot is None else slot
        slot_of[-1] = len(self.levels) if self.missing else other
        slots = slot_of[values.codes]
        if nothing == 2:
            return np.array([-1.0, 1.0, 0.0])[slots][:, None]
        return np.eye(nothing + 1)[slots][:, :nothing]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Flag:
    """A yes/no column as -1 and +1, 0 where missing, and a second output for missing if that was seen in fitting."""

    missing: bool

    @classmethod
    def fit(cls, values: np.ndarray) -> Flag:
        return cls(bool(np.isnan(values).any()))

    def outputs(self, column: str) -> list[str]:
        """Name of every output."""
        return [column] + [f"{column} (missing)"] * self.missing

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values of shape (rows, outputs)."""
        absent = np.isnan(values)
        signs = np.where(absent, 0.0, 2.0 * values - 1.0)
        return np.column_stack([signs, absent]) if self.missing else signs[:, None]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Calendar:
    """The recurring parts of a date as points on a circle: month, weekday and, if it varies, the hour of the day.

    The running day count is one of the :class:`Numbers`. A missing date is the circle's centre, (0, 0).
    """

    hour: bool

    @classmethod
    def fit(cls, values: np.ndarray) -> Calendar:
        seconds = _seconds_of_day(values[~np.isnat(values)])
        return cls(len(seconds) > 0 and bool((seconds != seconds[0]).any()))

    def outputs(self, column: str) -> list[str]:
        """Name of every output."""
        parts = ["month", "weekday"] + ["hour"] * self.hour
        return [f"{column} ({part} {wave})" for part in parts for wave in ("sin", "cos")]

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values of shape (rows, outputs)."""
        absent = np.isnat(values)
        known = np.where(absent, np.datetime64("2000-01-01", "us"), values)
        days = known.astype("datetime64[D]").astype(np.int64)
        turns = [(known.astype("datetime64[M]").astype(np.int64) % 12) / 12, ((days + 3) % 7) / 7]
        if self.hour:
            turns.append(_seconds_of_day(known) / 86400)
        angle = 2 * np.pi * np.stack(turns, axis=1)
        waves = np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(values), 2 * len(turns))
        waves[absent] = 0.0
        return waves

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def day_count(values: np.ndarray) -> np.ndarray:
    """Days since 1970 with the time of day as a fraction, NaN where missing."""
    return np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.int64) / 86.4e9)


def _seconds_of_day(values: np.ndarray) -> np.ndarray:
    return (values - values.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)

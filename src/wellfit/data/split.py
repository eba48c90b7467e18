"""Divide the rows into train, validation and test: by class, by group, or by time."""

from __future__ import annotations

import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from wellfit.core.errors import WellfitError

FORMAT = 1
TARGET_BINS = 10
MANY_GROUPS = 2000


class Divisible(Protocol):
    """What can be divided: a :class:`~wellfit.data.table.Table`, or anything else with a target per row (see there)."""

    @property
    def y(self) -> np.ndarray: ...

    @property
    def task(self) -> str: ...

    @property
    def groups(self) -> np.ndarray | None: ...

    @property
    def times(self) -> np.ndarray | None: ...

    @property
    def test_index(self) -> np.ndarray | None: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows of a table do what. Sorted int64 row numbers; no row is in two parts.

    ``folds`` are pairs (train, validation) of the development rows, which are train and validation together.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    folds: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    @property
    def development(self) -> np.ndarray:
        """All rows that choices may look at: train and validation."""
        return np.sort(np.concatenate([self.train, self.validation]))


def make_split(table: Divisible, *, seed: int = 0, test_fraction: float = 0.2, validation_fraction: float = 0.25,
               folds: int | None = None) -> Split:
    """Divide a table, the same way for the same seed.

    Classes are kept in proportion (for regression: tenths of the target), groups are never divided, and with a time
    column train comes before validation and validation before test. With both, a group counts as happening at its last
    row, so training never sees anything later than the cut. Rows of a separate test table are the test rows.

    Args:
        table: as from :func:`load_table`.
        seed: of the random draws; a split by time has none.
        test_fraction: share of all rows kept for the final test.
        validation_fraction: share of the remaining rows used for choosing.
        folds: number of folds over the development rows; None gives one, the split into train and validation. By time,
            fold i trains on the first i of folds + 1 periods and validates on the next.
    """
    for name, value in (("test_fraction", test_fraction), ("validation_fraction", validation_fraction)):
        if not 0.0 < value < 1.0:
            raise WellfitError(f"{name} is not a share of the rows.", received=value, expected="between 0 and 1")
    if folds is not None and folds < 2:
        raise WellfitError("Too few folds.", received=folds, expected="at least 2, or None for a single split")
    strata, moments = _strata(table), _moments(table)
    rng = np.random.default_rng(seed)
    every = np.arange(len(table), dtype=np.int64)
    if table.test_index is not None:
        test = table.test_index.astype(np.int64)
        development = np.setdiff1d(every, test)
    else:
        held = _held_out(every, test_fraction, table, strata, moments, rng, least=3)
        development, test = every[~held], every[held]
    held = _held_out(development, validation_fraction, table, strata, moments, rng, least=2)
    train, validation = development[~held], development[held]
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        if len(rows) == 0:
            raise WellfitError(f"The {name} part of the split is empty.", received=_counted(table),
                               expected="enough rows, groups or moments for three parts",
                               action="change test_fraction or validation_fraction, or use more data")
    pairs = ((train, validation),) if folds is None else _folds(development, folds, seed, table, strata, moments)
    return Split(train, validation, test, pairs)


def other_folds(table: Divisible, split: Split, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The development rows divided anew into as many folds, by another seed; a single fold, and folds by time, stay as they are."""
    if len(split.folds) < 2:
        return split.folds
    return _folds(split.development, len(split.folds), seed, table, _strata(table), _moments(table))


def _strata(table: Divisible) -> np.ndarray:
    """What to keep in proportion: the class, or the tenth of the target (its limits never from a separate test table)."""
    if table.task != "regression":
        return table.y.astype(np.int64)
    known = table.y if table.test_index is None else np.delete(table.y, table.test_index)
    bins = max(2, min(TARGET_BINS, len(known) // 10))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, table.y, side="left"), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _moments(table: Divisible) -> np.ndarray | None:
    """When each row counts as happening: its time, or the last time of its group."""
    if table.times is None or table.groups is None:
        return table.times
    group = np.unique(table.groups, return_inverse=True)[1].reshape(-1)
    last = np.full(group.max() + 1, -np.inf)
    np.maximum.at(last, group, table.times)
    return last[group]


def _held_out(rows: np.ndarray, fraction: float, table: Divisible, strata: np.ndarray, moments: np.ndarray | None,
              rng: np.random.Generator, *, least: int) -> np.ndarray:
    if moments is not None:
        return _latest(moments[rows], fraction)
    if table.groups is not None:
        return _held_out_groups(table.groups[rows], strata[rows], fraction, rng)
    return _held_out_rows(strata[rows], fraction, rng, least)


def _held_out_rows(strata: np.ndarray, fraction: float, rng: np.random.Generator, least: int) -> np.ndarray:
    """A mask with ``fraction`` of each stratum; one of ``least`` rows or more is in both parts, a single row stays out.

    scikit-learn's stratified shuffle refuses strata of one row and parts smaller than the number of strata.
    """
    counts = np.bincount(strata)
    exact = counts * fraction
    take = np.floor(exact).astype(np.int64)
    spare = round(len(strata) * fraction) - int(take.sum())
    order = np.lexsort((rng.random(len(counts)), -(exact - take)))
    take[order[:max(0, spare)]] += 1
    take = np.clip(take, np.where(counts >= least, 1, 0), np.maximum(counts - 1, 0))
    if take.sum() == 0 and counts.max() >= 2:
        take[np.argmax(counts)] = 1
    mask = np.zeros(len(strata), dtype=bool)
    for stratum in np.flatnonzero(take):
        members = np.flatnonzero(strata == stratum)
        mask[rng.permutation(members)[:take[stratum]]] = True
    return mask


def _held_out_groups(groups: np.ndarray, strata: np.ndarray, fraction: float, rng: np.random.Generator,
                     tries: int = 12) -> np.ndarray:
    """A mask of whole groups that holds about ``fraction`` of every stratum.

    Greedy from several random orders, large groups first: a group is taken when that lowers the sum over strata of
    (share held - fraction)². Then strata of which none is held get a group if one can be spared. The best order is the
    one with the least of that sum + [strata with none held] + 3 [strata with none left].
    """
    names, group = np.unique(groups, return_inverse=True)
    group = group.reshape(-1)
    if len(names) < 2:
        raise WellfitError("Too few groups to divide.", received=f"{len(names)} group",
                           expected="at least 2 groups here", action="use a finer group column, or more data")
    table = np.zeros((len(names), int(strata.max()) + 1))
    np.add.at(table, (group, strata), 1.0)
    table = table[:, table.sum(0) > 0]
    # The last entry of a group is its share of all rows, so that sizes count beside strata.
    shares = np.column_stack([table / table.sum(0), table.sum(1) / len(groups)])

    def misfit(held: np.ndarray) -> float:
        return float(np.square(held - fraction).sum())

    def loss(held: np.ndarray) -> float:
        return misfit(held) + float((held[:-1] < 1e-12).sum() + 3 * (held[:-1] > 1 - 1e-9).sum())

    best, best_loss = np.zeros(len(names), dtype=bool), np.inf
    for _ in range(tries if len(names) <= MANY_GROUPS else 1):
        order = rng.permutation(len(names))
        order = order[np.argsort(-table.sum(1)[order].round(), kind="stable")]
        taken, held = np.zeros(len(names), dtype=bool), np.zeros(shares.shape[1])
        current = misfit(held)
        for position in order:
            value = misfit(held + shares[position])
            if value < current - 1e-12:
                held, current, taken[position] = held + shares[position], value, True
        current = loss(held)
        for stratum in np.flatnonzero(held[:-1] < 1e-12):
            spare = [p for p in np.flatnonzero((shares[:, stratum] > 0) & ~taken)
                     if held[-1] + shares[p, -1] <= max(0.5, 2 * fraction)]
            if spare and held[stratum] < 1e-12:
                value, position = min((loss(held + shares[p]), int(p)) for p in spare)
                if value < current:
                    held, current, taken[position] = held + shares[position], value, True
        if current < best_loss and taken.any() and not taken.all():
            best, best_loss = taken, current
    if not best.any():
        best[int(np.argmin(np.abs(shares[:, -1] - fraction)))] = True
    return best[group]


def _cut_points(moments: np.ndarray, shares: np.ndarray) -> list[float]:
    """For each share the first moment after the cut, so that equal moments stay together."""
    distinct, counts = np.unique(moments, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])[:-1] / len(moments)
    if len(distinct) <= len(shares):
        raise WellfitError("Too few different times to divide.", received=f"{len(distinct)} different times",
                           expected=f"at least {len(shares) + 1}", action="use a finer time column, or fewer parts")
    cuts: list[int] = []
    for number, share in enumerate(shares):
        low = cuts[-1] + 1 if cuts else 1
        high = len(distinct) - (len(shares) - number) + 1
        cuts.append(low + int(np.argmin(np.abs(before[low:high] - share))))
    return [float(distinct[cut]) for cut in cuts]


def _latest(moments: np.ndarray, fraction: float) -> np.ndarray:
    return moments >= _cut_points(moments, np.array([1.0 - fraction]))[0]


def _folds(rows: np.ndarray, count: int, seed: int, table: Divisible, strata: np.ndarray,
           moments: np.ndarray | None) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    if moments is not None:
        starts = _cut_points(moments[rows], np.arange(1, count + 1) / (count + 1))
        period = np.searchsorted(starts, moments[rows], side="right")
        return tuple((rows[period < i], rows[period == i]) for i in range(1, count + 1))
    labels = strata[rows]
    units = len(rows) if table.groups is None else len(np.unique(table.groups[rows]))
    if count > units:
        raise WellfitError("More folds than rows or groups to divide.", received=f"folds={count}",
                           expected=f"at most {units}")
    if np.bincount(labels).max() < count:
        labels = np.zeros_like(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare classes are spread as evenly as possible, which is wanted
        if table.groups is None:
            pairs = list(StratifiedKFold(count, shuffle=True, random_state=seed).split(rows, labels))
        else:
            groups = table.groups[rows]
            pairs = []
            if units <= MANY_GROUPS:
                by_class = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
                pairs = list(by_class.split(rows, labels, groups))
            if not pairs or any(len(validation) == 0 for _, validation in pairs):
                pairs = list(GroupKFold(count).split(rows, labels, groups))
    return tuple((rows[np.sort(train)].astype(np.int64), rows[np.sort(validation)].astype(np.int64))
                 for train, validation in pairs)


def _counted(table: Divisible) -> str:
    parts = [f"{len(table)} rows"]
    if table.groups is not None:
        parts.append(f"{len(np.unique(table.groups))} groups")
    if table.times is not None:
        parts.append(f"{len(np.unique(table.times))} different times")
    return ", ".join(parts)


def save_split(path: str | os.PathLike[str], split: Split) -> None:
    """Write the row numbers as npz, without pickle."""
    arrays = {"format": np.array([FORMAT]), "train": split.train, "validation": split.validation, "test": split.test}
    for i, (train, validation) in enumerate(split.folds):
        arrays |= {f"fold_{i}_train": train, f"fold_{i}_validation": validation}
    with open(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_split(path: str | os.PathLike[str]) -> Split:
    """Read what :func:`save_split` wrote."""
    path = Path(path)
    if not path.is_file():
        raise WellfitError("There is no such split file.", received=str(path),
                           expected="a split.npz written by wellfit")
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        version = int(arrays.pop("format")[0])
        count = sum(name.startswith("fold_") for name in arrays) // 2
        for array in arrays.values():
            if array.ndim != 1 or array.dtype.kind not in "iu" or bool((np.diff(array) <= 0).any()):
                raise ValueError("row numbers are not sorted whole numbers")
        arrays = {name: array.astype(np.int64) for name, array in arrays.items()}
        split = Split(arrays["train"], arrays["validation"], arrays["test"], tuple(
            (arrays[f"fold_{i}_train"], arrays[f"fold_{i}_validation"]) for i in range(count)))
    except (OSError, ValueError, KeyError, IndexError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise WellfitError("The split file is damaged.", received=f"{path}: {error}",
                           expected="a split.npz written by wellfit") from error
    if version != FORMAT:
        raise WellfitError("The split file has an unknown format.", received=version, expected=FORMAT,
                           action="use the version of wellfit that wrote it")
    parts = np.concatenate([split.train, split.validation, split.test])
    if len(np.unique(parts)) != len(parts):
        raise WellfitError("The split file puts a row into two parts.", received=str(path))
    return split

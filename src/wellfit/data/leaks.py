"""Find columns and rows that make a score too good to be true."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from wellfit.data.notes import Note, plural, quoted
from wellfit.data.split import Split
from wellfit.data.table import Table

ALMOST_PERFECT = 0.99
SAMPLE_ROWS = 3000
SCREENED_CELLS = 4_000_000
EXAMINED_COLUMNS = 16
SCREEN_BINS = 16
MANY_TWINS = 0.01


def find_leaks(table: Table, split: Split, *, seed: int = 0) -> tuple[Note, ...]:
    """Warn of columns that give the answer away and of rows that occur in two parts of the split.

    A column is suspect when it alone, by a small decision tree on at most 3000 development rows, predicts the target
    with a cross-validated balanced accuracy (regression: R²) of 0.99 or more. In wide tables a quick screen in bins
    chooses the 16 columns that are examined. The test rows' targets are looked at for twins only.
    """
    return (*_telling_columns(table, split, seed), *_identifiers(table), *_twins(table, split))


def _telling_columns(table: Table, split: Split, seed: int) -> list[Note]:
    rng = np.random.default_rng(seed)
    rows = _sample(table, split.development, rng)
    y = table.y[rows]
    if table.task == "regression":
        if len(rows) < 10 or y.max() == y.min():
            return []
    else:
        counts = np.bincount(y)
        rows = rows[counts[y] >= 2]
        y = np.unique(table.y[rows], return_inverse=True)[1].reshape(-1)
        if len(np.unique(y)) < 2:
            return []
    numbers = _as_numbers(table.frame.iloc[rows])
    order = _screen(numbers, y, table.task == "regression")
    findings = []
    for position in order[:EXAMINED_COLUMNS]:
        score = _score(numbers[:, position], y, table.task == "regression")
        if score >= ALMOST_PERFECT:
            findings.append((str(table.frame.columns[position]), score))
    what = "R²" if table.task == "regression" else "balanced accuracy"
    return [Note("warning", "leak_column", f"Column {name!r} alone predicts {table.target!r} almost perfectly ({what} "
                 f"{score:.3f}). If it is only known after the fact, leave it out with drop=[{name!r}].")
            for name, score in findings]


def _sample(table: Table, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most 3000 rows, fewer in very wide tables; up to 100 of each class so that rare ones are judged too."""
    limit = max(200, min(SAMPLE_ROWS, SCREENED_CELLS // table.frame.shape[1]))
    if len(rows) <= limit:
        return rows
    shuffled = rng.permutation(rows)
    if table.task == "regression":
        return np.sort(shuffled[:limit])
    y = table.y[shuffled]
    rank = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        rank[members] = np.arange(len(members))
    few = max(2, min(100, limit // (2 * (int(y.max()) + 1))))
    return np.sort(shuffled[np.argsort(rank >= few, kind="stable")[:limit]])


def _as_numbers(frame: pd.DataFrame) -> np.ndarray:
    """Every feature as float64: categories as codes, dates as microseconds, missing below everything else."""
    matrix = np.empty(frame.shape)
    for i, (_, series) in enumerate(frame.items()):
        if isinstance(series.dtype, pd.CategoricalDtype):
            matrix[:, i] = series.cat.codes
        elif series.dtype.kind == "M":
            matrix[:, i] = np.where(series.isna(), np.nan, series.to_numpy().astype("datetime64[us]").astype(np.int64))
        else:
            matrix[:, i] = series.to_numpy()
    absent = np.isnan(matrix)
    if absent.any():
        lowest = np.min(np.where(absent, 0.0, matrix), axis=0)
        matrix = np.where(absent, lowest - 1.0 - np.abs(lowest), matrix)
    return matrix


def _screen(numbers: np.ndarray, y: np.ndarray, regression: bool) -> np.ndarray:
    """Columns by how much 16 bins of equal size tell of the target, most telling first; not all when there are few."""
    n, width = numbers.shape
    if width <= EXAMINED_COLUMNS:
        return np.arange(width)
    bins = min(SCREEN_BINS, max(2, n // 8))
    ordered = np.sort(numbers, axis=0)
    edges = ordered[(np.arange(1, bins) * n) // bins]
    place = np.zeros(numbers.shape, dtype=np.int64)
    for edge in edges:
        place += numbers > edge
    place += np.arange(width) * bins
    if regression:
        size = np.maximum(np.bincount(place.ravel(), minlength=width * bins), 1)
        total = np.bincount(place.ravel(), np.repeat(y - y.mean(), width), minlength=width * bins)
        gain = (total ** 2 / size).reshape(width, bins).sum(axis=1)
    else:
        weight = 1.0 / np.bincount(y)[y]
        classes = int(y.max()) + 1
        mass = np.zeros((classes, width * bins))
        for label in range(classes):
            mine = y == label
            mass[label] = np.bincount(place[mine].ravel(), np.repeat(weight[mine], width), minlength=width * bins)
        gain = mass.max(axis=0).reshape(width, bins).sum(axis=1)
    return np.argsort(-gain, kind="stable")


def _score(x: np.ndarray, y: np.ndarray, regression: bool) -> float:
    """Cross-validated balanced accuracy or R² of one column."""
    distinct, rank = np.unique(x, return_inverse=True)
    column = ((x - x.min()) / max(float(np.ptp(x)), 1e-300)).astype(np.float32)[:, None]
    if len(np.unique(column)) < 0.9 * len(distinct):  # an extreme value hides the differences of the others
        column = rank.reshape(-1, 1).astype(np.float32)
    predicted = np.empty(len(y))
    if regression:
        folds = KFold(min(5, len(y) // 2), shuffle=True, random_state=0).split(column)
        for train, held in folds:
            tree = DecisionTreeRegressor(max_leaf_nodes=256, min_samples_leaf=2, random_state=0)
            predicted[held] = tree.fit(column[train], y[train]).predict(column[held])
        line = float(np.corrcoef(x, y)[0, 1] ** 2) if x.max() > x.min() else 0.0
        return max(float(r2_score(y, predicted)), line)
    counts = np.bincount(y)
    leaves = max(8, 4 * len(counts), len(distinct) if len(distinct) <= 256 else 0)
    # A tree on the whole column bounds what cross-validation can reach, so most columns need no more than this.
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    if balanced_accuracy_score(y, tree.fit(column, y).predict(column)) < ALMOST_PERFECT:
        return 0.0
    folds = StratifiedKFold(int(min(5, counts.min())), shuffle=True, random_state=0).split(column, y)
    for train, held in folds:
        predicted[held] = tree.fit(column[train], y[train]).predict(column[held])
    return float(balanced_accuracy_score(y, predicted))


def _identifiers(table: Table) -> list[Note]:
    names = [c.name for c in table.features if "row identifier" in c.reason or "counts the rows" in c.reason]
    if not names:
        return []
    return [Note("warning", "id_column", f"{quoted(names)} number or name the rows one by one. A network can memorise "
                 "them, and new rows have other values: leave them out with drop=[...].")]


def _twins(table: Table, split: Split) -> list[Note]:
    """Rows whose features all equal those of a row that was learned from."""
    keys = _row_keys(table.frame)
    notes: list[Note] = []
    for part, rows, earlier, learned in (("test", split.test, "training or validation", split.development),
                                         ("validation", split.validation, "training", split.train)):
        known, inverse = np.unique(keys[learned], return_inverse=True)
        inverse = inverse.reshape(-1)
        place = np.minimum(np.searchsorted(known, keys[rows]), len(known) - 1)
        twin = known[place] == keys[rows]
        if not twin.any():
            continue
        pairs = {(int(k), v) for k, v in zip(inverse, table.y[learned].tolist(), strict=True)}
        same = sum((int(k), v) in pairs for k, v in zip(place[twin], table.y[rows[twin]].tolist(), strict=True))
        share = twin.sum() / len(rows)
        advice = (" If these are copies rather than chance, remove them, or name the column that says which rows "
                  "belong together: group=...")
        notes.append(Note("warning" if share >= MANY_TWINS else "info", "duplicate_rows",
                          f"{plural(int(twin.sum()), f'{part} row')} of {len(rows)} ({share:.1%}) have the same "
                          f"features as a {earlier} row, {same} of them with the same target."
                          f"{'' if notes else advice}"))
    return notes


def _row_keys(frame: pd.DataFrame) -> np.ndarray:
    """A 64-bit key per row, equal for rows with equal cells."""
    mixers = np.random.default_rng(0).integers(1, 2**63, size=frame.shape[1], dtype=np.uint64) | np.uint64(1)
    keys = np.zeros(len(frame), dtype=np.uint64)
    for mixer, (_, series) in zip(mixers, frame.items(), strict=True):
        codes = series.cat.codes if isinstance(series.dtype, pd.CategoricalDtype) else series
        array = np.asarray(codes.to_numpy())
        if array.dtype.kind == "f":
            array = array + 0.0  # one zero
        keys += pd.util.hash_array(array) * mixer
    return keys

"""Two ways of holding rows out, compared row by row with a quick model: what the easier way flatters a score by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Flattery:
    """How much better a score looks under one split than under another.

    Attributes:
        random, honest: mean error under the two splits: share of wrong classes, or squared error over the variance (1 - R²).
        difference, low, high: honest - random, with a 95% interval.
    """

    random: float
    honest: float
    difference: float
    low: float
    high: float


def errors(inputs: np.ndarray, y: np.ndarray, folds: np.ndarray, regression: bool, *, trees: int = 50, seed: int = 0,
           train_rows: np.ndarray | None = None) -> np.ndarray:
    """(n,): each row's error, predicted by a forest and the three nearest rows that saw none of its fold.

    Args:
        inputs: (n, D) standardized.
        folds: (n,) the fold of each row; rows with -1 are learned from by all and not predicted (nan).
        train_rows: if given, only these may be learned from.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    out = np.full(len(y), np.nan)
    variance = float(np.var(y)) or 1.0
    for fold in np.unique(folds[folds >= 0]):
        held, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if train_rows is not None:
            train = np.intersect1d(train, train_rows)
        near = min(3, len(train))
        if regression:
            models = (ExtraTreesRegressor(trees, min_samples_leaf=2, max_features=0.4, random_state=seed),
                      KNeighborsRegressor(near, weights="distance"))
            guess = np.mean([m.fit(inputs[train], y[train]).predict(inputs[held]) for m in models], axis=0)
            out[held] = (guess - y[held]) ** 2 / variance
        else:
            known = np.unique(y[train])
            models = (ExtraTreesClassifier(trees, min_samples_leaf=2, random_state=seed),
                      KNeighborsClassifier(near, weights="distance"))
            shares = np.sum([m.fit(inputs[train], y[train]).predict_proba(inputs[held]) for m in models], axis=0)
            out[held] = known[shares.argmax(axis=1)] != y[held]
    return out


def folds_of_groups(groups: np.ndarray, y: np.ndarray, count: int, regression: bool, rng: np.random.Generator) -> np.ndarray:
    """(n,): folds that divide no group, similar in size and, for classes, in their shares (greedy, largest group first)."""
    names, code = np.unique(groups, return_inverse=True)
    classes = np.zeros(len(y), dtype=np.int64) if regression else np.unique(y, return_inverse=True)[1].reshape(-1)
    table = np.zeros((len(names), int(classes.max()) + 1))
    np.add.at(table, (code.reshape(-1), classes), 1.0)
    table = np.column_stack([table, table.sum(axis=1)])
    weight = 1 / np.maximum(table.sum(axis=0), 1.0)
    weight[-1] *= 0.1  # size decides where classes do not: of groups that are a class each, any fold may take any
    order = rng.permutation(len(names))
    order = order[np.argsort(-table[order].sum(axis=1), kind="stable")]
    load = np.zeros((count, table.shape[1]))
    place = np.empty(len(names), dtype=np.int64)
    for group in order:
        after = load + table[group]
        # what makes the folds most alike, class by class
        cost = [(((np.where(np.arange(count)[:, None] == f, after, load)) * weight) ** 2).sum() for f in range(count)]
        place[group] = int(np.argmin(cost))
        load[place[group]] += table[group]
    return place[code.reshape(-1)]


def paired(random: np.ndarray, honest: np.ndarray, clusters: np.ndarray, *, rounds: int = 500, seed: int = 0) -> Flattery:
    """The mean difference of two errors of the same rows, with an interval from a bootstrap over whole clusters of rows."""
    use = np.isfinite(random) & np.isfinite(honest)
    code = np.unique(clusters[use], return_inverse=True)[1].reshape(-1)
    gap = honest[use] - random[use]
    total, size = np.bincount(code, gap), np.bincount(code).astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(size), np.full(len(size), 1 / len(size)), size=rounds).astype(np.float64)
    means = (drawn @ total) / (drawn @ size)
    low, high = np.quantile(means, (0.025, 0.975))
    return Flattery(float(random[use].mean()), float(honest[use].mean()), float(gap.mean()), float(low), float(high))

"""One column that carries nearly all there is to know of the target: what is only known after the fact looks like this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TREES = 60
_SUFFICES, _NEEDED = 1.5, 3.0   # the column alone loses at most this factor; without it the error grows at least by this one
_LARGEST_ERROR = 0.25           # of always giving the commonest answer: what the column alone leaves at most
_LONELY = 0.4                   # the next best column knows at most this share of what it knows
_CANDIDATES = 3
_SMALLEST = 0.002


@dataclass(frozen=True)
class Telling:
    """A column that alone predicts nearly as well as all, while all the others together do much worse.

    Attributes:
        column: its name.
        alone, together, without: cross-validated error of a forest on the column, on everything, on everything else: share of wrong
            answers, each class counting alike, or squared error over the variance.
        next_best: the same of the best other column alone.
        base: the same of always giving the commonest answer.
        dominance: without / max(alone, together).
        lonely: of classes, that none of the others comes near it, whatever they tell together.
    """

    column: str
    alone: float
    together: float
    without: float
    next_best: float
    base: float
    classes: bool

    @property
    def dominance(self) -> float:
        return self.without / max(self.alone, self.together, _SMALLEST)

    @property
    def lonely(self) -> bool:
        knows, next_knows = (self.base - e for e in (self.alone, self.next_best))
        return self.classes and next_knows <= _LONELY * knows

    def sentence(self) -> str:
        """The finding in one line."""
        return (f"Column {self.column!r} alone predicts the target with an error of {self.alone:.1%} (all columns "
                f"{self.together:.1%}, all others {self.without:.1%}, the best of them {self.next_best:.1%}). If it is only known "
                f"after the fact, leave it out with drop=[{self.column!r}].")


def telling_column(inputs: np.ndarray, y: np.ndarray, groups: np.ndarray, names: Sequence[str], *, regression: bool,
                   seed: int = 0) -> Telling | None:
    """The column that gives the target away, or None.

    A strong feature is usually one of several that say the same: leaving it out costs little. What was computed from the target is
    alone in what it says. A column is named when a forest on it alone errs at most 1.5 times as often as one on all columns, and
    one on all the others at least 3 times as often; and when alone it leaves at most a quarter of the error of the commonest
    answer. Of classes it is also named if no other column alone knows two fifths of what it knows, even where all the others
    together tell as much: what takes many weak measurements to tell is seldom told by another measurement at once. (A quantity
    often depends on one measurement most of all: the price of a house on its size.)

    Source: the notion of leakage by a feature: Kaufman et al. 2012, "Leakage in data mining"; the factors are ours.

    Args:
        inputs: (n, D) encoded features.
        y: (n,) class numbers, or values.
        groups: (D,) for every input the number of its column; ``names`` their names.
        regression: whether ``y`` holds values.
        seed: of the folds and forests.
    """
    present = np.unique(groups)
    if len(present) < 2 or len(y) < 40:
        return None
    folds = _folds(y, regression, seed)
    base = 1.0 if regression else 1 - 1 / len(np.unique(y))
    together = _error(inputs, y, folds, regression, seed)
    strongest = _strongest(inputs, y, groups, regression, seed)
    errors = {group: _error(inputs[:, groups == group], y, folds, regression, seed) for group in strongest}
    for group, alone in sorted(errors.items(), key=lambda pair: pair[1]):
        if alone > _LARGEST_ERROR * base:
            break
        without = _error(inputs[:, groups != group], y, folds, regression, seed)
        next_best = min((e for g, e in errors.items() if g != group), default=base)
        telling = Telling(str(names[group]), alone, together, without, next_best, base, not regression)
        suffices = alone <= _SUFFICES * max(together, _SMALLEST)
        if (suffices and telling.dominance >= _NEEDED) or telling.lonely:
            return telling
    return None


def _strongest(inputs: np.ndarray, y: np.ndarray, groups: np.ndarray, regression: bool, seed: int) -> list[int]:
    """Columns by the importance that a forest gives them."""
    forest = _forest(regression, seed).fit(inputs, y)
    total = np.bincount(groups, weights=forest.feature_importances_)
    return [int(g) for g in np.argsort(-total)[:_CANDIDATES] if total[g] > 0]


def _forest(regression: bool, seed: int):  # type: ignore[no-untyped-def]
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    if regression:
        return ExtraTreesRegressor(_TREES, min_samples_leaf=2, random_state=seed)
    return ExtraTreesClassifier(_TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed)


def _folds(y: np.ndarray, regression: bool, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import KFold, StratifiedKFold

    if regression or np.bincount(y).max() < 3:
        return list(KFold(3, shuffle=True, random_state=seed).split(y))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds
        return list(StratifiedKFold(3, shuffle=True, random_state=seed).split(y, y))


def _error(inputs: np.ndarray, y: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], regression: bool, seed: int) -> float:
    predicted = np.zeros(len(y))
    for train, held in folds:
        predicted[held] = _forest(regression, seed).fit(inputs[train], y[train]).predict(inputs[held])
    if regression:
        return float(((predicted - y) ** 2).mean() / max(float(np.var(y)), 1e-300))
    return float(np.mean([(predicted[y == c] != c).mean() for c in np.unique(y)]))

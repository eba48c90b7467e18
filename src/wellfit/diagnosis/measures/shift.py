"""Whether two sets of rows are from one distribution, in what they differ, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.honest_split import errors, folds_of_groups

ROWS = 2000
LEVEL, LEAST = 0.01, 0.53
_FOLDS, _SHARED = 5, 1.4
_WEIGHT = 20.0


@dataclass(frozen=True)
class TwoSample:
    """Classifier two-sample test.

    Attributes:
        auc, low, high: how well a classifier tells unseen rows of the two sets apart, with a 95% interval; 0.5 is not at all.
        p: one-sided p-value of 0.5.
        found: p below 0.01 and an AUC of at least 0.53.
        weights: (n,) estimated density ratio other / reference of each reference row, at most 20, mean 1; nan for rows left out.
    """

    auc: float
    low: float
    high: float
    p: float
    found: bool
    weights: np.ndarray


@dataclass(frozen=True)
class FeatureShift:
    """How far the distribution of one column moved.

    Attributes:
        name: the column. kind: "number", "category" or "missing" (the share of missing cells).
        distance: Kolmogorov-Smirnov distance, or total variation; 0 to 1.
        p: its p-value, after Holm's correction for all columns and kinds.
    """

    name: str
    kind: str
    distance: float
    p: float


@dataclass(frozen=True)
class Consequence:
    """What the shift does to a quick model.

    Attributes:
        inside: cross-validated error on the reference rows (share of wrong classes, or 1 - R²).
        outside: error on the other rows of a model that has seen reference rows only.
        difference, low, high: outside - inside, with a 95% interval.
        weighted: the reference error weighted by the density ratio (Shimodaira 2000): what the error outside would be if only the
            inputs had shifted. effective: Kish's effective number of rows of these weights.
    """

    inside: float
    outside: float
    difference: float
    low: float
    high: float
    weighted: float
    effective: float


def two_sample(reference: np.ndarray, other: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0) -> TwoSample:
    """Test whether two sets of rows are from one distribution (Lopez-Paz and Oquab 2017, ICLR: classifier two-sample tests).

    A forest of extremely randomized trees and logistic regression, their ranks averaged, are 5-fold cross-validated on at most 2000
    rows of each set. The AUC is taken within folds; its variance is that of DeLong et al. (1988, Biometrics 44), two fifths
    larger in standard deviation for what the folds share.

    Args:
        reference, other: (n, D) and (m, D) standardized features, finite.
        groups: (n + m,) the group of each row, reference first; rows of one group stay in one fold. Needed where groups of near
            copies lie wholly on one side, for else their copies tell the side.
        seed: of folds and draws.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    if reference.ndim != 2 or other.ndim != 2 or reference.shape[1] != other.shape[1] or min(len(reference), len(other)) < 10:
        raise WellfitError("Two sets of rows with the same columns are needed.", received=f"{reference.shape} and {other.shape}",
                           expected="(n, D) and (m, D), at least 10 rows each")
    rng = np.random.default_rng(seed)
    first = np.sort(rng.permutation(len(reference))[:ROWS])
    second = np.sort(rng.permutation(len(other))[:ROWS])
    x = np.concatenate([reference[first], other[second]])
    side = np.repeat([0, 1], [len(first), len(second)])
    member = np.arange(len(x)) if groups is None else np.asarray(groups)[np.concatenate([first, len(reference) + second])]
    folds = folds_of_groups(member, side, _FOLDS, False, rng)
    ahead, behind, score = [], [], np.zeros(len(x))
    for fold in range(_FOLDS):
        train, held = folds != fold, np.flatnonzero(folds == fold)
        if len(np.unique(side[train])) < 2 or len(np.unique(side[held])) < 2:
            continue
        forest = ExtraTreesClassifier(80, min_samples_leaf=5, class_weight="balanced", random_state=seed)
        line = LogisticRegression(C=0.1, max_iter=200, class_weight="balanced")
        guesses = [m.fit(x[train], side[train]).predict_proba(x[held])[:, 1] for m in (forest, line)]
        ranks = np.mean([pd.Series(g).rank().to_numpy() for g in guesses], axis=0)
        score[held] = np.mean(guesses, axis=0)
        zero, one = ranks[side[held] == 0], ranks[side[held] == 1]
        wins = (one[:, None] > zero[None]) + 0.5 * (one[:, None] == zero[None])
        ahead.append(wins.mean(axis=1))
        behind.append(wins.mean(axis=0))
    if not ahead:
        raise WellfitError("The groups leave no fold with rows of both sets.", expected="more groups on each side")
    up, down = np.concatenate(ahead), np.concatenate(behind)
    auc = float(np.mean([a.mean() for a in ahead]))
    least = (len(up) + len(down) + 1) / (12 * len(up) * len(down))  # variance of no difference, so that a perfect AUC is no problem
    deviation = _SHARED * float(np.sqrt(max(up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down), 0.05 * least)))
    null = _SHARED * float(np.sqrt(least))
    p = 1 - NormalDist().cdf((auc - 0.5) / null)
    odds = np.clip(score[side == 0], 0.02, 0.98)
    ratio = np.minimum(odds / (1 - odds), _WEIGHT)
    weights = np.full(len(reference), np.nan)
    weights[first] = ratio / ratio.mean()
    low, high = max(0.0, auc - 1.96 * deviation), min(1.0, auc + 1.96 * deviation)
    return TwoSample(auc, low, high, p, p < LEVEL and auc >= LEAST, weights)


def feature_shifts(reference: pd.DataFrame, other: pd.DataFrame) -> list[FeatureShift]:
    """Every column's shift, the surest first.

    Numbers and dates: the two-sample Kolmogorov-Smirnov test. Texts, categories and flags: total variation, and chi² on the classes
    with at least five rows expected. Missing cells: the difference of their shares, chi². p-values after Holm (1979).
    """
    from scipy.stats import ks_2samp

    found: list[tuple[str, str, float, float]] = []
    for name in reference.columns:
        one, two = reference[name], other[name]
        gaps = one.isna().to_numpy(), two.isna().to_numpy()
        if gaps[0].any() or gaps[1].any():
            found.append((str(name), "missing", *_chi_squared(gaps[0].astype(int), gaps[1].astype(int))))
        known, asked = one[~gaps[0]], two[~gaps[1]]
        if len(known) == 0 or len(asked) == 0:
            continue
        if known.dtype.kind in "fiuM" and known.nunique() > 2:
            test = ks_2samp(known.to_numpy().astype(np.float64), asked.to_numpy().astype(np.float64), method="asymp")
            found.append((str(name), "number", float(test.statistic), float(test.pvalue)))
        else:
            codes = pd.factorize(np.concatenate([known.astype(str).to_numpy(), asked.astype(str).to_numpy()]))[0]
            found.append((str(name), "category", *_chi_squared(codes[:len(known)], codes[len(known):])))
    return _holm(found)


def label_shift(reference: np.ndarray, other: np.ndarray, *, regression: bool) -> FeatureShift:
    """Shift of the target itself: class shares (total variation, chi²) or values (Kolmogorov-Smirnov)."""
    from scipy.stats import ks_2samp

    if regression:
        test = ks_2samp(reference, other, method="asymp")
        return FeatureShift("target", "number", float(test.statistic), float(test.pvalue))
    codes = np.unique(np.concatenate([reference, other]), return_inverse=True)[1].reshape(-1)
    return FeatureShift("target", "category", *_chi_squared(codes[:len(reference)], codes[len(reference):]))


def consequence(inputs: np.ndarray, y: np.ndarray, other: np.ndarray, other_y: np.ndarray, *, regression: bool,
                weights: np.ndarray | None = None, seed: int = 0) -> Consequence:
    """Error of a quick model outside against its cross-validated error inside; see :class:`Consequence`.

    The model outside learns from a random four fifths of the reference rows, as many as each fold inside. At most 2000 rows of
    each set are used. ``weights`` are those of :func:`two_sample`.
    """
    rng = np.random.default_rng(seed)
    first, second = np.sort(rng.permutation(len(y))[:ROWS]), np.sort(rng.permutation(len(other_y))[:ROWS])
    folds = rng.permutation(len(first)) % _FOLDS
    inside = errors(inputs[first], y[first], folds, regression, seed=seed)
    learned = first[folds != 0]
    place = np.repeat([-1, 0], [len(learned), len(second)])
    together = np.concatenate([y[learned], other_y[second]])
    outside = errors(np.concatenate([inputs[learned], other[second]]), together, place, regression, seed=seed)[len(learned):]
    if regression:
        # one scale for both: the reference's variance
        outside = outside * float(np.var(together)) / (float(np.var(y[first])) or 1.0)
    gap = float(outside.mean() - inside.mean())
    half = 1.96 * float(np.sqrt(inside.var() / len(inside) + outside.var() / len(outside)))
    w = np.ones(len(first)) if weights is None else np.nan_to_num(weights[first], nan=0.0)
    w = w if w.sum() > 0 else np.ones(len(first))
    weighted, effective = float((w * inside).sum() / w.sum()), float(w.sum() ** 2 / (w**2).sum())
    return Consequence(float(inside.mean()), float(outside.mean()), gap, gap - half, gap + half, weighted, effective)


def shifted_sentence(test: TwoSample, features: Sequence[FeatureShift] = (), cost: Consequence | None = None) -> str:
    """The finding in one line."""
    text = f"A classifier tells the two sets apart with an AUC of {test.auc:.2f} (95% interval {test.low:.2f} to {test.high:.2f})"
    if not test.found:
        return text + ": no sign of a shift."
    moved = [f"{f.name!r} ({f.distance:.2f})" for f in features if f.p < 0.05][:3]
    text += f": they differ{', most in ' + ', '.join(moved) if moved else ''}."
    if cost is not None:
        text += (f" A quick model's error is {cost.inside:.3f} inside and {cost.outside:.3f} outside "
                 f"(higher by {cost.difference:.3f}, 95% interval {cost.low:.3f} to {cost.high:.3f}).")
    return text


def _chi_squared(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """Total variation of two sets of codes, and the p-value of chi² on classes with enough rows (the others together)."""
    from scipy.stats import chi2

    classes = int(max(one.max(initial=0), two.max(initial=0))) + 1
    table = np.stack([np.bincount(one, minlength=classes), np.bincount(two, minlength=classes)]).astype(np.float64)
    size = table.sum(axis=1, keepdims=True)
    distance = float(np.abs(table[0] / size[0] - table[1] / size[1]).sum() / 2)
    few = (size * table.sum(axis=0) / size.sum()).min(axis=0) < 5
    pooled = np.concatenate([table[:, ~few], table[:, few].sum(axis=1, keepdims=True)], axis=1)
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    if pooled.shape[1] < 2:
        return distance, 1.0
    expected = size * pooled.sum(axis=0) / size.sum()
    return distance, float(chi2.sf(((pooled - expected) ** 2 / expected).sum(), pooled.shape[1] - 1))


def _holm(found: list[tuple[str, str, float, float]]) -> list[FeatureShift]:
    ordered = sorted(found, key=lambda f: (f[3], -f[2]))
    largest, shifts = 0.0, []
    for place, (name, kind, distance, p) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - place)))
        shifts.append(FeatureShift(name, kind, distance, largest))
    return shifts

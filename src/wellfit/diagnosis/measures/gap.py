"""Generalization gap and paired differences with intervals that know of rows and of seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate, Statistic, affordable, around, means, resample, seeds_by_rows

Values = Callable[[np.ndarray | None], np.ndarray]


def paired_difference(rows_a: np.ndarray, rows_b: np.ndarray, *, statistic: Statistic = means, strata: np.ndarray | None = None,
                      groups: np.ndarray | None = None, folds: int | None = None, draws: int = 1000, seed: int = 0) -> Estimate:
    """T(a) - T(b) of two set-ups on the same rows, with a 95% interval over rows crossed with seeds.

    With T_s the difference of seed s: value = mean_s T_s, variance = V_rows + max(0, V_seeds - V_both), where V_rows is the
    bootstrap variance over rows of mean_s T_s, V_seeds = var_s(T_s) / S, and V_both the part that these two share (row by seed),
    from the same bootstrap. Student's t with the degrees of freedom of Satterthwaite: three seeds that disagree widen the
    interval as three numbers do. With one seed the scatter over seeds is not known and is left out.

    Args:
        rows_a, rows_b: (S, n) contributions of each row (``Scorer.rows``), or (n,); (S, F, n) with nan for rows a fold does
            not judge. Seeds are paired when both have as many, else taken as independent.
        statistic: from contributions (m, n) and counts (b, n) to (b, m): the mean, or ``Scorer.errors`` for balanced accuracy
            and RMSE.
        strata: (n,) labels to draw rows within (the class, for balanced accuracy).
        groups: (n,) labels of rows that belong together; whole groups are drawn.
        folds: F where the rows were judged by F networks of a cross-validation (of (S, F, n) it is known): these learned from
            the same rows, so V_rows is taken F / (F - 1) times. On few rows that is still a little short
            (:func:`nested_interval`; Nadeau and Bengio 2003 go to 1 + F / (F - 1)).
        draws: bootstrap samples; fewer for many rows.

    Shapes: as above; the result is one number.
    Source: Efron and Tibshirani 1993; the components of a crossed design as in Owen 2007 (the pigeonhole bootstrap), whose
    threefold counting of the shared part is avoided here.

    >>> rng = np.random.default_rng(0)
    >>> hard = rng.normal(size=60)
    >>> found = paired_difference(hard + 1 + 0.1 * rng.normal(size=(3, 60)), hard + 0.1 * rng.normal(size=(3, 60)))
    >>> found.low < 1 < found.high and found.excludes(0)
    True
    """
    widen = _widening(folds, rows_a)
    a, b = seeds_by_rows(rows_a, "rows_a"), seeds_by_rows(rows_b, "rows_b")
    if a.shape[1] != b.shape[1]:
        raise WellfitError("The two set-ups were not judged on the same rows.", received=f"{a.shape[1]} and {b.shape[1]} rows",
                           expected="the same rows in the same order")
    counts = _drawn(a.shape[1], draws, seed, strata, groups)
    floor = _one_flip(statistic, a, strata) if _binary(a) and _binary(b) else 0.0
    units = a.shape[1] if groups is None else len(np.unique(groups))
    if len(a) == len(b):
        return crossed(statistic(a, None)[0] - statistic(b, None)[0], statistic(a, counts) - statistic(b, counts), units, floor,
                       widen=widen)
    # seeds that are not paired: their scatters add up, the rows stay paired
    drawn_a, drawn_b = statistic(a, counts), statistic(b, counts)
    value = float(statistic(a, None).mean() - statistic(b, None).mean())
    rows, noise = _row_part(drawn_a.mean(axis=1) - drawn_b.mean(axis=1), units, floor)
    parts = [(widen * rows, widen**2 * noise),
             _seed_part(statistic(a, None)[0], drawn_a), _seed_part(statistic(b, None)[0], drawn_b)]
    return _summed(value, parts)


def generalization_gap(train: np.ndarray, held_out: np.ndarray, *, statistic: Statistic = means,
                       train_statistic: Statistic | None = None, same_rows: bool | None = None, strata: np.ndarray | None = None,
                       train_strata: np.ndarray | None = None, groups: np.ndarray | None = None,
                       train_groups: np.ndarray | None = None, folds: int | None = None, draws: int = 1000,
                       seed: int = 0) -> Estimate:
    """Held-out error less training error, T(held out) - T(train), with a 95% interval over rows crossed with seeds.

    In a cross-validation every row is held out once and trained on otherwise: the gap is then a paired difference over the same
    rows, which is far tighter. With a fixed test part, rows of either part are drawn for themselves. Measure ``train`` without
    dropout, augmentation or penalties (the clean training loss), or the gap is that of two different functions.

    Args:
        train: (S, n), (S, F, n) with nan where a fold did not train on a row, or (n,): contributions of training rows.
        held_out: the same of held-out rows; seeds as in ``train``.
        statistic, train_statistic: see :func:`paired_difference`; the latter for training rows with targets of their own
            (``Scorer.errors`` of their scorer), by default the same.
        same_rows: whether column i of both is the same row; None: where both have as many rows and three axes.
        strata, train_strata, groups, train_groups, folds: see :func:`paired_difference`.

    >>> rng = np.random.default_rng(0)
    >>> print(generalization_gap(rng.exponential(0.2, (3, 400)), rng.exponential(0.5, (3, 200))).excludes(0))
    True
    """
    if same_rows is None:
        same_rows = np.ndim(train) == np.ndim(held_out) == 3 and np.shape(train)[-1] == np.shape(held_out)[-1]
    if same_rows:
        return paired_difference(held_out, train, statistic=statistic, strata=strata, groups=groups, folds=folds, draws=draws,
                                 seed=seed)
    a, b = seeds_by_rows(held_out, "held_out"), seeds_by_rows(train, "train")
    if len(a) != len(b):
        raise WellfitError("Training and held-out rows come from different seeds.", received=f"{len(b)} and {len(a)} seeds",
                           expected="as many of both, from the same networks")
    other = train_statistic or statistic
    here = statistic(a, None)[0] - other(b, None)[0]
    counts_a = _drawn(a.shape[1], draws, seed, strata, groups)
    counts_b = _drawn(b.shape[1], len(counts_a), seed + 1, train_strata, train_groups, exactly=True)
    floor = (_one_flip(statistic, a, strata) if _binary(a) else 0.0) + (_one_flip(other, b, train_strata) if _binary(b) else 0.0)
    units = a.shape[1] if groups is None else len(np.unique(groups))
    return crossed(here, statistic(a, counts_a) - other(b, counts_b), units, floor, widen=_widening(folds, held_out))


def nested_interval(held_out: np.ndarray, pairs: np.ndarray, folds: np.ndarray) -> Estimate:
    """Mean error with an interval from nested cross-validation, for few rows: plain intervals of a cross-validation are too short,
    because they leave out that the networks of all folds learned from the same rows.

    MSE = mean_k[(ē_k,inner - ē_k,outer)² - se²(ē_k,outer)]: how far the error that a cross-validation without fold k promises
    is from the error on fold k, less the noise of the latter. √MSE is kept between the plain standard error and √F times it; it
    is then scaled from F - 1 to F folds.

    Args:
        held_out: (S, n) or (n,): contributions of each row, from the network that did not see its fold.
        pairs: (F, n) or (S, F, n): ``pairs[k, i]`` is the contribution of row i from a network trained without fold k and
            without the fold of row i; ignored where i is in fold k. F (F - 1) / 2 trainings give them all.
        folds: (n,): the fold 0 .. F - 1 of each row.

    Source: Bates, Hastie and Tibshirani 2023, "Cross-validation: what does it estimate and how well does it do it?".
    """
    rows = seeds_by_rows(held_out, "held_out").mean(axis=0)
    inner = np.asarray(pairs, dtype=np.float64)
    inner = inner.mean(axis=0) if inner.ndim == 3 else inner
    folds = np.asarray(folds)
    count = int(folds.max()) + 1
    if inner.shape != (count, len(rows)) or count < 3:
        raise WellfitError("The nested errors do not fit the folds.", received=f"{inner.shape} for {count} folds",
                           expected=f"({count}, {len(rows)}), and three folds at least")
    squares = []
    for k in range(count):
        mine = folds == k
        square = (inner[k, ~mine].mean() - rows[mine].mean()) ** 2
        squares.append(square - rows[mine].var(ddof=1) / mine.sum() if mine.sum() > 1 else square)
    plain = rows.std(ddof=1) / len(rows) ** 0.5
    error = float(np.clip(np.sqrt(max(np.mean(squares), 0.0)), plain, np.sqrt(count) * plain))
    return around(float(rows.mean()), error**2 * (count - 1) / count if error > plain else plain**2, len(rows) - 1)


def _drawn(n: int, draws: int, seed: int, strata: np.ndarray | None, groups: np.ndarray | None, *,
           exactly: bool = False) -> np.ndarray:
    for name, labels in (("strata", strata), ("groups", groups)):
        if labels is not None and len(labels) != n:
            raise WellfitError(f"{name} do not belong to these rows.", received=f"{len(labels)} labels", expected=f"{n} labels")
    return resample(n, draws if exactly else affordable(draws, n), np.random.default_rng(seed), strata=strata, groups=groups)


def _widening(folds: int | None, rows: np.ndarray) -> float:
    """Factor on the variance over rows, for networks of a cross-validation that share them."""
    count = folds if folds is not None else np.shape(rows)[1] if np.ndim(rows) == 3 else 1
    return count / (count - 1) if count > 1 else 1.0


Part = tuple[float, float]
"""A variance, and the variance of that estimate."""


def crossed(here: np.ndarray, drawn: np.ndarray, units: int, floor: float = 0.0, *, widen: float = 1.0, overlap: float = 0.0,
            alone: float = 0.0) -> Estimate:
    """The mean over seeds of values (S,), with an interval from those of bootstrap samples of ``units`` rows or groups, (b, S).

    ``floor``: least variance over rows; ``widen``: factor on it; ``overlap``: how much of a seed's variance does not average out,
    because repetitions share rows; ``alone``: sd over seeds that is assumed of a single one.
    """
    rows, noise = _row_part(drawn.mean(axis=1), units, floor)
    return _summed(float(here.mean()), [(widen * rows, widen**2 * noise), _seed_part(here, drawn, overlap, alone)])


def _row_part(drawn: np.ndarray, units: int, floor: float) -> Part:
    """Variance over rows; the bootstrap's own falls short by (n - 1) / n."""
    variance = max(float(drawn.var(ddof=1)) * units / max(units - 1, 1), floor)
    return variance, 2 * variance**2 / max(units - 1, 1)


def _seed_part(here: np.ndarray, drawn: np.ndarray, overlap: float = 0.0, alone: float = 0.0) -> Part:
    """Variance that seeds add to their mean, beyond what rows explain."""
    seeds = len(here)
    if seeds < 2:
        return alone**2, alone**4 / 2  # four degrees of freedom
    own = drawn - drawn.mean(axis=1, keepdims=True)
    shared = float(own.var(axis=0, ddof=1).mean()) / (seeds - 1)
    scatter = float(here.var(ddof=1)) * (1 / seeds + overlap)
    return max(0.0, scatter - shared), 2 * scatter**2 / (seeds - 1)


def _summed(value: float, parts: list[Part]) -> Estimate:
    """An interval from independent variances (Satterthwaite 1946: freedom = 2 V² / var(V))."""
    total, spread = sum(variance for variance, _ in parts), sum(noise for _, noise in parts)
    return around(value, total, 2 * total**2 / spread if spread > 0 else np.inf)


def _binary(rows: np.ndarray) -> bool:
    return bool(np.isin(rows, (0.0, 1.0)).all())


def _one_flip(statistic: Statistic, rows: np.ndarray, strata: np.ndarray | None) -> float:
    """Variance of one wrong row more per class: what is not known where the bootstrap sees no error at all (Agresti, Min 2005)."""
    first = rows[:1]
    total = 0.0
    for label in (np.unique(strata) if strata is not None else [None]):
        at = 0 if label is None else int(np.flatnonzero(strata == label)[0])
        flipped = first.copy()
        flipped[0, at] = 1 - flipped[0, at]
        total += float(statistic(flipped, None)[0, 0] - statistic(first, None)[0, 0]) ** 2
    return total

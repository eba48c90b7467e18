"""Rows that occur, nearly, in two parts of a split: distances to the nearest row against what chance gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import wilson

NEIGHBOURS = 10
RARE = 1e-3
NEAR = 0.4  # of the distance to the tenth neighbour: in many dimensions chance forbids what is not yet a copy in plain words
_HELD = 2000


@dataclass(frozen=True)
class NearCopies:
    """Rows of one set that are nearly rows of another.

    Attributes:
        share, low, high: queries with a near copy (exact ones included), and the Wilson 95% interval.
        exact: share of queries whose inputs equal a reference row's.
        within: share of reference rows with a near copy among the other reference rows.
        excess, excess_low, excess_high: share - within, and its 95% interval (Newcombe 1998, of two Wilson intervals). Data that
            repeat themselves everywhere have a large share, but no excess; copies put into the test part have one.
        expected: the nominal share that chance gives in evenly spread data of this dimension; uneven data have more (``within``).
        dimension: intrinsic dimension of the reference rows.
        rows, copies: the queries found and the reference row each is a copy of, the closest first.
        found: whether copies were put across the split: the excess is at least 0.01 and its 99.7% interval lies above zero.
    """

    share: float
    low: float
    high: float
    exact: float
    within: float
    excess: float
    excess_low: float
    excess_high: float
    expected: float
    dimension: float
    rows: np.ndarray
    copies: np.ndarray
    found: bool


def standardized(reference: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows as float32, each column with mean 0 and standard deviation 1 over the reference; missing cells become the mean, and a
    column that has some gets a second one that says where (at half weight, ±0.5). Constant columns are left out."""
    known = np.asarray(reference, dtype=np.float64).reshape(len(reference), -1)
    absent = np.isnan(known)
    count = np.maximum((~absent).sum(axis=0), 1)
    mean = np.where(absent, 0.0, known).sum(axis=0) / count
    deviation = np.sqrt(np.where(absent, 0.0, (known - mean) ** 2).sum(axis=0) / count)
    varies = deviation > 1e-9 * np.maximum(np.abs(mean), 1e-9)
    gaps = absent.any(axis=0) & ~absent.all(axis=0)
    parts = []
    for given in (reference, *others):
        rows = np.asarray(given, dtype=np.float64).reshape(len(given), -1)
        if rows.shape[1] != known.shape[1]:
            raise WellfitError("The sets of rows have different columns.", received=f"{rows.shape[1]} and {known.shape[1]}",
                               expected="the same number")
        missing = np.isnan(rows)
        scaled = np.where(missing, 0.0, (np.where(missing, 0.0, rows) - mean) / np.where(varies, deviation, 1.0))[:, varies]
        parts.append(np.concatenate([scaled, missing[:, gaps] - 0.5], axis=1).astype(np.float32))
    return tuple(parts)


def near_copies(reference: np.ndarray, queries: np.ndarray, *, rare: float = RARE, seed: int = 0) -> NearCopies:
    """Which queries are nearly a reference row, and whether that is more than chance.

    Where rows fill a space of intrinsic dimension d evenly, the distances r_1 ≤ ... ≤ r_k to the k nearest rows obey
    P(r_1 / r_k < t) = 1 - (1 - t^d)^(k - 1). A row is a near copy when this probability is below ``rare`` and r_1 is at most 0.4 of
    r_k: the nearest row is far nearer than the next ones make likely. d is the maximum-likelihood estimate of Levina and Bickel
    (2004, NIPS 17) from r_2 on, so that copies do not bend it. The same is counted within the reference, each row against the
    others.

    Args:
        reference, queries: (n, ...) and (m, ...) numbers, NaN where missing; images are flattened.
        rare: probability below which a nearest row is called a copy.
        seed: of the draw of at most 2000 reference rows for the comparison within.
    """
    known, asked = standardized(reference, queries)
    if len(known) < 3 or len(asked) == 0:
        raise WellfitError("Too few rows to look for copies.", received=f"{len(known)} and {len(asked)} rows",
                           expected="at least 3 and 1")
    k = min(NEIGHBOURS, len(known) - 1)
    rng = np.random.default_rng(seed)
    held = np.arange(len(known)) if len(known) <= _HELD else np.sort(rng.choice(len(known), _HELD, replace=False))
    inside, _ = nearest(known, known[held], k, own=held)
    dimension = _dimension(inside)
    across, index = nearest(known, asked, k)
    is_copy = _copied(across, dimension, rare)
    rows = np.flatnonzero(is_copy)
    rows = rows[np.argsort(across[rows, 0], kind="stable")]
    n, m = len(held), len(asked)
    inner = int(_copied(inside, dimension, rare).sum())
    share, within = len(rows) / m, inner / n
    low, high = (float(v) for v in wilson(len(rows), m))
    least, most = _difference(len(rows), m, inner, n)
    found = share - within >= 0.01 and _difference(len(rows), m, inner, n, z=3.0)[0] > 0
    exact = float((across[:, 0] <= 0).mean())
    return NearCopies(share, low, high, exact, within, share - within, least, most, rare, dimension, rows, index[rows, 0], found)


def _difference(count: int, n: int, other: int, m: int, z: float = 1.96) -> tuple[float, float]:
    """Newcombe's interval of count / n - other / m."""
    p, q = count / n, other / m
    (low, high), (other_low, other_high) = ([float(v) for v in wilson(c, size, z)] for c, size in ((count, n), (other, m)))
    return p - q - float(np.hypot(p - low, other_high - q)), p - q + float(np.hypot(high - p, q - other_low))


def nearest(known: np.ndarray, asked: np.ndarray, k: int, *, own: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (m, k), ascending, and row numbers (m, k) of the k nearest known rows, in blocks.

    ``own`` gives the row number of each asked row among the known ones, which is left out. Distances are
    computed again from the differences, so that an exact copy is at 0.
    """
    extra = 0 if own is None else 1
    k = min(k, len(known) - extra)
    squares = np.einsum("ij,ij->i", known, known)
    step = max(1, 16_000_000 // max(1, len(known)))
    distances, indices = np.empty((len(asked), k)), np.empty((len(asked), k), dtype=np.int64)
    for a in range(0, len(asked), step):
        block = asked[a:a + step]
        near = squares[None, :] - 2 * (block @ known.T)
        if own is not None:
            near[np.arange(len(block)), own[a:a + step]] = np.inf
        chosen = np.argpartition(near, k - 1, axis=1)[:, :k] if k < len(known) else np.argsort(near, axis=1)[:, :k]
        gap = np.stack([np.sqrt(((known[chosen[:, j]] - block) ** 2).sum(axis=1, dtype=np.float64)) for j in range(k)], axis=1)
        order = np.argsort(gap, axis=1, kind="stable")
        distances[a:a + step] = np.take_along_axis(gap, order, axis=1)
        indices[a:a + step] = np.take_along_axis(chosen, order, axis=1)
    return distances, indices


def _dimension(distances: np.ndarray) -> float:
    """Median over the rows of Levina and Bickel's estimate from the second neighbour on.

    The logs of r_k / r_j for j = 2 ... k - 1 have the mean ((k - 2) - (1/2 + ... + 1/(k - 1))) / (d · (k - 2)).
    """
    k = distances.shape[1]
    usable = distances[distances[:, 1] > 0][:, 1:]
    if k < 4 or len(usable) == 0:
        return 2.0
    mean = float(np.median(np.log(usable[:, -1:] / usable[:, :-1]).mean(axis=1)))
    expected = 1 - sum(1 / i for i in range(2, k)) / (k - 2)
    return float(np.clip(expected / max(mean, 1e-3), 1.0, 1000.0))


def _copied(distances: np.ndarray, dimension: float, rare: float) -> np.ndarray:
    return (_chance(distances, dimension) < rare) & (distances[:, 0] <= NEAR * distances[:, -1])


def _chance(distances: np.ndarray, dimension: float) -> np.ndarray:
    """(m,): how likely a nearest row this near is; 1 where all k are equally near (repeated values on a grid)."""
    k = distances.shape[1]
    ratio = distances[:, 0] / np.maximum(distances[:, -1], 1e-300)
    chance: np.ndarray = -np.expm1((k - 1) * np.log1p(-np.minimum(ratio, 1 - 1e-12) ** dimension))
    return np.where(distances[:, -1] <= 0, 0.0, chance)

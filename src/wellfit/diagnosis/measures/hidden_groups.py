"""Rows that belong together though nobody said so: columns that name groups, and what a split by them costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wellfit.diagnosis.measures.honest_split import Flattery, errors, folds_of_groups, paired
from wellfit.diagnosis.measures.near_copies import nearest, standardized

ROWS = 2000
CLOSE, VERY_CLOSE, CONSTANT, COSTS = 0.5, 0.9, 0.5, 0.02
A_QUANTITY = 0.7
EXAMINED = 3
COMPARED = 400
_PREFIX = re.compile(r"^(.*[^\s_\-/.:#])[\s_\-/.:#]+[^\s_\-/.:#]+$")


@dataclass(frozen=True)
class GroupLeak:
    """A column whose values name groups of rows that are near each other.

    Attributes:
        column: its name; part: "value", or "prefix" of the value before its last separator (``309_1``).
        groups: number of groups.
        closeness: how much oftener a row's nearest other row is of its own group than chance has it, on a scale where chance is 0
            and always is 1 (the kappa of Cohen 1960); the column itself is left out of the distances.
        constancy: the same scale for the target of two rows of one group (for numbers the share of variance between groups).
        flattery: error of a quick model under a random split and under a split by these groups.
        leaks: whether the error is higher by more than 0.02 and beyond its interval.
    """

    column: str
    part: str
    groups: int
    closeness: float
    constancy: float
    flattery: Flattery
    leaks: bool

    def sentence(self) -> str:
        f = self.flattery
        return (f"Rows with the same {self.column!r}{' prefix' if self.part == 'prefix' else ''} are near copies of each other "
                f"({self.groups} groups). Held out row by row the error is {f.random:.3f}, held out by {self.column!r} it is "
                f"{f.honest:.3f} (higher by {f.difference:.3f}, 95% interval {f.low:.3f} to {f.high:.3f}).")


def group_codes(series: pd.Series) -> list[tuple[str, np.ndarray]]:
    """What of a column may name a group, each as (part, codes (n,)): its values, and for text their prefixes.

    Numbers with a fraction, missing-only and constant columns name nothing. Rows without a value get a code of their own each.
    """
    rows = np.arange(len(series))
    if series.dtype.kind in "fiub":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(values)
        if not known.any() or (values[known] != np.round(values[known])).any():
            return []
        parts = [("value", np.where(known, values, 0.0))]
    elif series.dtype.kind == "M":
        return []
    else:
        known = series.notna().to_numpy()
        text = series.astype(object).where(known, "").map(str)
        parts = [("value", text.to_numpy(dtype=object).astype(str))]
        cut = text.map(lambda t: m.group(1) if (m := _PREFIX.match(t)) else "")
        if (cut != "").mean() > 0.9:
            parts.append(("prefix", cut.to_numpy(dtype=object).astype(str)))
    found = []
    for part, values in parts:
        code = np.unique(values, return_inverse=True)[1].reshape(-1)
        found.append((part, np.where(known, code, code.max() + 1 + rows)))
    return found


def hidden_groups(frame: pd.DataFrame, y: np.ndarray, inputs: np.ndarray, sources: Sequence[str], *, regression: bool,
                  seed: int = 0, rows: int = ROWS) -> list[GroupLeak]:
    """Columns that name groups of near copies, the costliest first; those that leak are marked.

    A column is a candidate if its whole numbers or texts (or the texts' prefixes) form at least 5 groups, at most half as many as
    rows, 4 of 5 rows have company, and most classes have several groups. Its rows must be near copies of each other without it
    and without columns that are the same thing under another name: a closeness of at least 0.5 with a target that hardly changes
    within a group (constancy of at least 0.5), or of at least 0.9. A quantity is no name: a column is passed over if its values
    are ordered along the data, that is if the rank correlation with the value of the nearest row of another group is above 0.7
    (texts in the order of the alphabet). Of those left, at most three are examined: the error of a small forest with the nearest
    neighbours, cross-validated by rows and by groups, and the difference with a bootstrap over groups.

    Args:
        frame: the columns as they were read, without the target; ignored ones included.
        y: (n,) class numbers, or values.
        inputs: (n, D) encoded features.
        sources: for every column of ``inputs`` the column of ``frame`` it came from.
        regression: whether ``y`` holds values.
        seed: of the folds and of the draw of ``rows`` rows where there are more (whole groups are kept).
        rows: most rows to examine.
    """
    y = np.asarray(y)
    origin = np.asarray(sources)
    scaled, = standardized(np.where(np.isfinite(inputs), inputs, 0.0))
    origin = origin[_varying(np.where(np.isfinite(inputs), inputs, 0.0))]
    candidates = [(str(name), part, code) for name in frame.columns for part, code in group_codes(frame[name])
                  if _plausible(code) and (regression or not _classes_by_name(code, y))]
    if not candidates or len(y) < 20:
        return []
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(len(y))[:rows])
    first = nearest(scaled, scaled[sample], 1, own=sample)[1][:, 0]
    # A column that is near only by its own help drops out below; a loose screen spares most from the second look.
    loose = [(_kappa(code[sample] == code[first], code), name, part, code) for name, part, code in candidates]
    promising = sorted((c for c in loose if c[0] >= 0.7 * CLOSE), key=lambda c: -c[0])
    found: list[GroupLeak] = []
    for _, name, part, code in promising[:8 * EXAMINED]:
        same_thing = {name, *_renamed(frame, code)}
        others = scaled[:, ~np.isin(origin, list(same_thing))]
        if others.shape[1] == 0 or len(found) >= EXAMINED:
            continue
        near = nearest(others, others[sample], 1, own=sample)[1][:, 0]
        closeness = _kappa(code[sample] == code[near], code)
        constancy = _between(y, code) if regression else _constancy(y, code)
        if closeness < (CLOSE if constancy >= CONSTANT else VERY_CLOSE):
            continue
        if _quantity(frame[name], code, others, rng.permutation(sample)) > A_QUANTITY:
            continue
        kept = _whole_groups(code, rows, rng)
        flattery = _cost(others[kept], y[kept], code[kept], regression, seed)
        found.append(GroupLeak(name, part, len(np.unique(code)), closeness, constancy, flattery,
                               flattery.low > 0 and flattery.difference > COSTS))
    return sorted(found, key=lambda g: -g.flattery.difference)


def _renamed(frame: pd.DataFrame, code: np.ndarray) -> list[str]:
    """Columns that tell the same groups apart under other names."""
    groups = len(np.unique(code))
    found = []
    for name in frame.columns:
        other = pd.factorize(frame[name])[0]
        if other.max() + 1 in (groups, groups - 1) and len(np.unique(code.astype(np.int64) * (groups + 2) + other)) == groups:
            found.append(str(name))
    return found


def _quantity(series: pd.Series, code: np.ndarray, rows: np.ndarray, sample: np.ndarray) -> float:
    """Rank correlation of a value (texts by alphabet) with that of the nearest row of another group."""
    numbers = pd.to_numeric(series.astype(object).where(series.notna(), None), errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers).mean() < 0.9:
        numbers = code.astype(np.float64)
    sample = sample[:COMPARED]
    gap = (rows**2).sum(axis=1)[None, :] - 2 * (rows[sample] @ rows.T)
    gap[code[sample][:, None] == code[None, :]] = np.inf
    own, other = numbers[sample], numbers[gap.argmin(axis=1)]
    use = np.isfinite(own) & np.isfinite(other)
    if use.sum() < 10:
        return 0.0
    both = pd.DataFrame({"own": own[use], "other": other[use]}).rank()
    value = both["own"].corr(both["other"])
    return float(value) if np.isfinite(value) else 0.0


def _varying(inputs: np.ndarray) -> np.ndarray:
    mean = inputs.mean(axis=0, dtype=np.float64)
    return np.asarray(inputs.std(axis=0, dtype=np.float64) > 1e-9 * np.maximum(np.abs(mean), 1e-9))


def _plausible(code: np.ndarray) -> bool:
    size = np.unique(code, return_counts=True)[1]
    return bool(5 <= len(size) <= len(code) / 2 and size[size > 1].sum() >= 0.8 * len(code))


def _classes_by_name(code: np.ndarray, y: np.ndarray) -> bool:
    """Whether most rows are of a class with a single group: then the column is the target by another name."""
    pairs = np.unique(np.stack([np.unique(code, return_inverse=True)[1].reshape(-1), y]), axis=1)
    groups = np.bincount(pairs[1].astype(np.int64), minlength=int(y.max()) + 1)
    return bool((groups[y.astype(np.int64)] < 2).mean() > 0.5)


def _chance(code: np.ndarray) -> float:
    """The probability that two rows are of one group."""
    size = np.unique(code, return_counts=True)[1].astype(np.float64)
    return float((size * (size - 1)).sum() / (len(code) * (len(code) - 1.0)))


def _kappa(same: np.ndarray, code: np.ndarray) -> float:
    chance = _chance(code)
    return (float(same.mean()) - chance) / max(1 - chance, 1e-9)


def _constancy(y: np.ndarray, code: np.ndarray) -> float:
    size = np.bincount(np.unique(code, return_inverse=True)[1].reshape(-1)).astype(np.float64)
    both = np.unique(np.stack([code, y], axis=1), axis=0, return_counts=True)[1].astype(np.float64)
    pairs = (size * (size - 1)).sum()
    same = float((both * (both - 1)).sum() / pairs) if pairs else 0.0
    chance = _chance(y)
    return (same - chance) / max(1 - chance, 1e-9)


def _between(y: np.ndarray, code: np.ndarray) -> float:
    inverse = np.unique(code, return_inverse=True)[1].reshape(-1)
    size = np.bincount(inverse)
    inside = ((y - (np.bincount(inverse, y) / size)[inverse]) ** 2).sum() / max(len(y) - len(size), 1)
    return float(max(0.0, 1 - inside / max(float(np.var(y)), 1e-300)))


def _whole_groups(code: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    if len(code) <= rows:
        return np.arange(len(code))
    names, inverse, size = np.unique(code, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    chosen = order[:max(5, int(np.searchsorted(np.cumsum(size[order]), rows)))]
    kept = np.flatnonzero(np.isin(inverse.reshape(-1), chosen))
    return kept if len(kept) <= 1.5 * rows else np.sort(rng.choice(kept, 3 * rows // 2, replace=False))


def _cost(inputs: np.ndarray, y: np.ndarray, code: np.ndarray, regression: bool, seed: int) -> Flattery:
    rng = np.random.default_rng(seed)
    count = min(5, len(np.unique(code)))
    alone = np.arange(len(y))
    by_row = errors(inputs, y, folds_of_groups(alone, y, count, regression, rng), regression, seed=seed)
    by_group = errors(inputs, y, folds_of_groups(code, y, count, regression, rng), regression, seed=seed)
    return paired(by_row, by_group, code, seed=seed)

"""Rows with a time: whether predicting the future is harder than a random split says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.honest_split import Flattery, errors, paired

BLOCKS, ROWS, COSTS = 5, 4000, 0.02


@dataclass(frozen=True)
class TimeOrder:
    """What a random split hides about rows that come one after the other.

    Attributes:
        column: where the time is from.
        flattery: the error of a quick model when rows are held out at random, and when later rows are predicted from earlier ones.
        leaks: the error of the future is higher by more than 0.02, beyond the interval.
    """

    column: str
    flattery: Flattery
    leaks: bool

    def sentence(self) -> str:
        f = self.flattery
        return (f"Rows have an order in time ({self.column!r}). Held out at random the error is {f.random:.3f}, predicting later "
                f"rows from earlier ones {f.honest:.3f} (higher by {f.difference:.3f}, 95% interval {f.low:.3f} to {f.high:.3f}).")


def time_order(inputs: np.ndarray, y: np.ndarray, times: np.ndarray, *, regression: bool, column: str = "time",
               seed: int = 0) -> TimeOrder:
    """Compare a random split with one by time, with equally many rows to learn from.

    The rows are cut by time into five blocks. Each block but the first is predicted once from all earlier blocks (prequential
    evaluation, Dawid 1984), and once from as many rows drawn at random from all the others, in three folds, as in a random split.
    The interval is a bootstrap over 20 runs of neighbouring rows in each block, for errors of one time go together.

    Args:
        inputs: (n, D) standardized features, without the time itself.
        y: (n,) class numbers, or values.
        times: (n,) when each row happened; only the order counts, ties are kept together.
        column: its name, for the report.
        seed: of the draws; more than 4000 rows are thinned at random.
    """
    y, times = np.asarray(y), np.asarray(times)
    if not len(inputs) == len(y) == len(times) or len(y) < 10 * BLOCKS:
        raise WellfitError("A comparison by time needs features, targets and times of the same rows.",
                           received=f"{len(inputs)}, {len(y)} and {len(times)} rows",
                           expected=f"equally many, at least {10 * BLOCKS}")
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(len(y))[:ROWS])
    kept = kept[np.argsort(times[kept], kind="stable")]
    x, y, times = inputs[kept], y[kept], times[kept]
    n = len(y)
    rank = np.searchsorted(times, times, side="left")  # ties share the place of the first
    block = np.minimum(rank * BLOCKS // n, BLOCKS - 1)
    random, future = np.full(n, np.nan), np.full(n, np.nan)
    for b in range(1, BLOCKS):
        earlier, here = np.flatnonzero(block < b), np.flatnonzero(block == b)
        if len(here) == 0 or len(earlier) < 10 or (not regression and len(np.unique(y[earlier])) < 2):
            continue
        # errors only needs to know which rows are predicted (fold 0) and which may be learned from
        use = np.concatenate([earlier, here])
        future[here] = errors(x[use], y[use], np.where(block[use] == b, 0, -1), regression, seed=seed)[len(earlier):]
        fold = rng.permutation(len(here)) % 3
        for f in range(3):
            held = here[fold == f]
            if len(held) == 0:
                continue
            others = np.setdiff1d(np.arange(n), held)
            learned = rng.choice(others, min(len(earlier), len(others)), replace=False)
            use = np.concatenate([learned, held])
            place = np.repeat([-1, 0], [len(learned), len(held)])
            random[held] = errors(x[use], y[use], place, regression, seed=seed)[len(learned):]
    runs = np.minimum(np.arange(n) * 20 * BLOCKS // n, 20 * BLOCKS - 1)
    if not np.isfinite(future).any():
        raise WellfitError("The target does not vary early enough to predict later rows from earlier ones.", received=repr(column))
    flattery = paired(random, future, runs, seed=seed)
    return TimeOrder(column, flattery, flattery.low > 0 and flattery.difference > COSTS)


def ordered_columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns that give rows a place in time, as numbers: dates with at least 20 different values.

    Numbers that rise from row to row are left out: files are often sorted by something else than time.
    """
    found = {}
    for name in frame.columns:
        if frame[name].dtype.kind != "M":
            continue
        stamps = frame[name].to_numpy(dtype="datetime64[us]")
        if np.isnat(stamps).mean() < 0.1 and len(np.unique(stamps)) >= 20:
            found[str(name)] = np.where(np.isnat(stamps), np.iinfo(np.int64).min, stamps.astype(np.int64)).astype(np.float64)
    return found

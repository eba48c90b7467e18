"""What ``pathology_plants.py`` does to the rows of a table: wrong labels, copies, telling columns, another origin."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pathology_data import TARGET, sample

UNIT = "unit"


def rng_of(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, 60, number])


def joined(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


def numeric(frame: pd.DataFrame) -> list[str]:
    """Feature columns that hold numbers."""
    return [c for c in frame.columns if c not in (TARGET, UNIT) and frame[c].dtype.kind in "fiu"]


def flipped(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """A share of the labels replaced by another class, each other class equally likely."""
    rng = rng_of(seed, 1)
    names = np.unique(frame[TARGET])
    labels = np.searchsorted(names, frame[TARGET])
    rows = rng.permutation(len(frame))[: round(share * len(frame))]
    labels[rows] = (labels[rows] + rng.integers(1, len(names), len(rows))) % len(names)
    return frame.assign(**{TARGET: names[labels]})


def jittered(frame: pd.DataFrame, amount: float, kept: float, rng: np.random.Generator) -> pd.DataFrame:
    """Numbers moved by noise of ``amount`` standard deviations; other cells, and whole numbers of which there are few, stay with
    probability ``kept`` and are another row's otherwise."""
    out = frame.copy()
    for name in frame.columns:
        if name in (TARGET, UNIT):
            continue
        column = frame[name]
        if column.dtype.kind == "f" or (column.dtype.kind in "iu" and column.nunique() > 20):
            out[name] = column + amount * float(column.std() or 0.0) * rng.standard_normal(len(frame))
        else:
            other = column.to_numpy()[rng.permutation(len(frame))]
            out[name] = column.where(rng.random(len(frame)) < kept, other)
    return out


def duplicated(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """A share of the rows stands there twice more: one copy is exact, the other moved by 0.01 standard deviations. Shuffled."""
    rng = rng_of(seed, 2)
    chosen = frame.iloc[np.sort(rng.permutation(len(frame))[: round(share * len(frame))])]
    out = joined(frame, chosen, jittered(chosen, 0.01, 1.0, rng))
    return out.iloc[rng.permutation(len(out))].reset_index(drop=True)


def unit_names(count: int, seed: int, taken: int = 0) -> np.ndarray:
    """Names of so many units, after those that are taken already: text such as P0123 for odd seeds, numbers for even ones."""
    numbers = np.random.default_rng([seed, 63]).permutation(10_000)[taken: taken + count]
    return np.array([f"P{n:04d}" for n in numbers]) if seed % 2 else numbers


def repeated(frame: pd.DataFrame, units: int, times: int, seed: int) -> pd.DataFrame:
    """Rows as units that were measured ``times`` times: near-copies with one label, and a column that names the unit."""
    rng = rng_of(seed, 3)
    chosen = sample(frame, units, seed)
    chosen = chosen.assign(**{UNIT: unit_names(len(chosen), seed)})
    noisy = [jittered(chosen, 0.15, 0.95, rng) for _ in range(times)]
    out = joined(*noisy)
    return out.iloc[rng.permutation(len(out))].reset_index(drop=True)


def revealed(frame: pd.DataFrame, noise: float, seed: int) -> pd.DataFrame:
    """A column computed from the target.

    Classes: a code for each, given as another class's with probability ``noise``, as a number with a jitter that keeps the codes
    apart. A number: a line of it, with ``noise`` standard deviations added.
    """
    rng = rng_of(seed, 4)
    if frame[TARGET].dtype.kind == "f":
        y = frame[TARGET].to_numpy()
        column = 3.0 - 2.0 * (y + noise * y.std() * rng.standard_normal(len(y)))
        return frame.assign(billed=column)
    seen = flipped(frame, noise, seed + 1000)[TARGET] if noise else frame[TARGET]
    names = np.unique(frame[TARGET])
    codes = np.random.default_rng(seed).permutation(len(names))[np.searchsorted(names, seen)]
    column = codes + (0.1 * rng.standard_normal(len(frame)) if noise else 0.0)
    return frame.assign(billed=column) if noise else frame.assign(billed=[f"k{c}" for c in codes])


def direction(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """Where each row lies (its rank, from -1 to 1) along the first principal direction; for odd seeds along the number that says
    most of the target."""
    numbers = frame[numeric(frame)].to_numpy(dtype=np.float64)
    if numbers.shape[1] == 0:
        numbers = pd.get_dummies(frame.drop(columns=TARGET)).to_numpy(dtype=np.float64)
    numbers = np.nan_to_num((numbers - np.nanmean(numbers, 0)) / np.maximum(np.nanstd(numbers, 0), 1e-9))
    if seed % 2 == 0:
        values = np.linalg.svd(numbers, full_matrices=False)[0][:, 0]
    else:
        y = pd.Series(frame[TARGET])
        if y.dtype.kind == "f":
            told = [abs(np.corrcoef(c, y)[0, 1]) if c.std() > 0 else 0.0 for c in numbers.T]
        else:
            told = [float(pd.Series(c).groupby(y.to_numpy()).mean().std(ddof=0)) for c in numbers.T]
        values = numbers[:, int(np.argmax(told))]
    order = np.argsort(np.argsort(values + 1e-9 * np.random.default_rng(seed).standard_normal(len(values))))
    return (order / len(order) - 0.5) * 2  # type: ignore[no-any-return]


def selected(frame: pd.DataFrame, seed: int, strength: float) -> np.ndarray:
    """Whether each row is likely to be seen later only: drawn with a logistic probability along :func:`direction`."""
    score = direction(frame, seed) * (1 if seed % 4 < 2 else -1)
    return rng_of(seed, 5).random(len(frame)) < 1 / (1 + np.exp(-strength * score))  # type: ignore[no-any-return]


def with_more(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """As many rows more, of those that are not there yet."""
    seen = set(pd.util.hash_pandas_object(rows[list(rows.columns)], index=False))
    fresh = others[~pd.util.hash_pandas_object(others[list(rows.columns)], index=False).isin(seen)]
    return joined(rows, fresh.iloc[: len(rows)])

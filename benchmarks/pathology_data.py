"""The data sets of ``pathologies.py``: real tables, each divided anew by every seed.

``visible`` rows are what a diagnosis is given, ``reserve`` rows say what more data would have brought, ``hidden`` rows judge
whether a planting does the harm it is said to do. A diagnosis never sees the last two.

The sets are halved: thresholds of a diagnosis may be set on the development half only, and the judgement half says how it does
elsewhere. Both halves hold small and large tables, few and many classes, numbers and categories, and a regression.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from common import read_json

HALVES = ("development", "judgement")
TARGET = "target"


@dataclass(frozen=True)
class DataSet:
    """One table.

    Attributes:
        name, half: see above.
        visible, reserve, hidden: rows of each part.
        scarce: rows of a sample that is too small for it; 0: it needs few.
        load: (folder) -> frame with the column ``target``; classes are text, a number to predict is a float.
        bundled: it comes with scikit-learn.
    """

    name: str
    half: str
    visible: int
    reserve: int
    hidden: int
    scarce: int
    load: Callable[[Path | None], pd.DataFrame]
    bundled: bool = False
    regression: bool = False
    group: str | None = None


@dataclass(frozen=True)
class Parts:
    """The rows of one seed."""

    visible: pd.DataFrame
    reserve: pd.DataFrame
    hidden: pd.DataFrame


def _bundled(name: str, folder: Path | None) -> pd.DataFrame:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    names = [str(n).replace(" ", "_") for n in found.feature_names]
    frame = pd.DataFrame(found.data, columns=names).round(6)
    frame[TARGET] = [f"c{v}" for v in found.target]
    return frame


def _csv(name: str, folder: Path | None) -> pd.DataFrame:
    if folder is None:
        raise FileNotFoundError(f"{name} needs --data")
    row = next(r for r in read_json(folder / "manifest.json")["datasets"] if r["name"] == name)
    frame = pd.read_csv(folder / row["file"]).rename(columns={row["target"]: TARGET})
    frame[TARGET] = frame[TARGET].astype(float) if row["task"] == "regression" else [f"c{v}" for v in frame[TARGET]]
    return frame


def _mnist(folder: Path | None) -> pd.DataFrame:
    """8000 digits at half the resolution, 14 x 14 pixels."""
    if folder is None:
        raise FileNotFoundError("mnist needs --data")

    def read(name: str, offset: int) -> np.ndarray:
        with gzip.open(folder / "mnist" / name) as file:
            return np.frombuffer(file.read(), dtype=np.uint8, offset=offset)

    images = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    frame = pd.DataFrame(images.round(2), columns=[f"p{i}" for i in range(196)]).iloc[:8000]
    frame[TARGET] = [f"c{v}" for v in read("t10k-labels-idx1-ubyte.gz", 8)[:8000]]
    return frame


def _real(name: str, half: str, visible: int, reserve: int, hidden: int, scarce: int, **more: object) -> DataSet:
    return DataSet(name, half, visible, reserve, hidden, scarce, partial(_csv, name), **more)  # type: ignore[arg-type]


SETS: dict[str, DataSet] = {d.name: d for d in (
    DataSet("digits", "development", 800, 497, 500, 80, partial(_bundled, "digits"), bundled=True),
    _real("phoneme", "development", 2000, 1800, 1600, 150),
    DataSet("mnist", "development", 1500, 1500, 3000, 120, _mnist),
    _real("california_housing", "development", 2500, 2500, 4000, 150, regression=True),
    _real("adult", "development", 2500, 2500, 5000, 120),
    _real("car", "development", 700, 500, 528, 120),
    _real("abalone", "development", 1500, 1200, 1477, 60, regression=True),
    _real("mice_protein", "development", 810, 0, 270, 0, group="mouse"),
    DataSet("breast_cancer", "judgement", 250, 130, 189, 30, partial(_bundled, "breast_cancer"), bundled=True),
    _real("shuttle", "judgement", 2500, 2500, 5000, 0),
    _real("telco_churn", "judgement", 2500, 2000, 2543, 100),
    _real("vehicle", "judgement", 350, 200, 296, 80),
    _real("concrete", "judgement", 430, 270, 330, 80, regression=True),
    _real("credit_g", "judgement", 400, 250, 350, 60),
    _real("kc1", "judgement", 500, 290, 400, 80),
    _real("cnae_9", "judgement", 450, 300, 330, 60),
)}


@lru_cache(maxsize=4)
def whole(name: str, folder: Path | None) -> pd.DataFrame:
    """All rows of a set that differ in their features; of one with classes, those of classes with 30 or more, 20 of them visible.

    Twins that a set came with would be a leak that nobody planted.
    """
    found = SETS[name]
    frame = found.load(folder)
    frame = frame[~frame.drop(columns=TARGET).duplicated()]
    if not found.regression:
        least = max(30, 20 * len(frame) / found.visible)
        often = frame[TARGET].map(frame[TARGET].value_counts()) >= least
        frame = frame[often]
    return frame.reset_index(drop=True)


def divided(name: str, folder: Path | None, seed: int) -> Parts:
    """The three parts for a seed; by group where the set has one."""
    found, frame = SETS[name], whole(name, folder)
    rng = np.random.default_rng([seed, 51])
    if found.group is not None:
        units = rng.permutation(frame[found.group].unique())
        kept = frame[found.group].isin(units[: round(len(units) * found.hidden / len(frame))])
        return Parts(_fresh(frame[~kept]), frame.iloc[:0], _fresh(frame[kept]))
    order = rng.permutation(len(frame)) if found.regression else _spread(frame[TARGET].to_numpy(), rng)
    hidden, visible = order[: found.hidden], order[found.hidden: found.hidden + found.visible]
    reserve = order[found.hidden + found.visible:][: found.reserve]
    return Parts(*(_fresh(frame.iloc[rows]) for rows in (visible, reserve, hidden)))


def sample(frame: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """So many rows; the classes keep their shares, and each keeps at least six rows where it has them."""
    rng = np.random.default_rng([seed, 52])
    if frame[TARGET].dtype.kind == "f":
        return _fresh(frame.iloc[rng.permutation(len(frame))[:rows]])
    labels = frame[TARGET].to_numpy()
    order = _spread(labels, rng)
    rank = pd.Series(labels[order]).groupby(labels[order]).cumcount().to_numpy()
    first = order[rank < 6]
    return _fresh(frame.iloc[np.concatenate([first, order[rank >= 6]])[: max(rows, len(first))]])


def _spread(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of the rows in which every stretch holds the classes in their shares."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        place[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    return np.argsort(place, kind="stable")


def _fresh(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index(drop=True)

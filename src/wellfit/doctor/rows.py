"""The rows behind a loader: which indices, which values, and which of them are alike."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from wellfit.doctor.batches import taken_apart
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.randomness import random_state_kept

AT_MOST_ROWS = 20_000
AT_MOST_SECONDS = 1.5
DIRECTIONS = 8


@dataclass(frozen=True)
class Source:
    """Where a loader's rows come from.

    Attributes:
        base: the data set below all subsets.
        indices: of its rows that the loader gives.
    """

    base: Any
    indices: np.ndarray


def is_map_style(loader: Any) -> bool:
    """Whether single rows can be asked for by index."""
    data = getattr(loader, "dataset", None)
    return (isinstance(loader, DataLoader) and not isinstance(data, IterableDataset) and hasattr(data, "__getitem__")
            and hasattr(data, "__len__"))


def source(exam: Exam, part: str) -> Source | None:
    """The data set below subsets and samplers, and which rows of it a loader gives; None if that cannot be known."""
    given = getattr(exam.set_up, part)
    if not is_map_style(given):
        return None
    indices = sampled(exam.loader(part))
    data = given.dataset
    while hasattr(data, "dataset") and hasattr(data, "indices"):
        own = np.asarray([int(i) for i in data.indices])
        indices = own[indices[indices < len(own)]]
        data = data.dataset
    return Source(data, np.unique(indices))


def sampled(loader: DataLoader[Any]) -> np.ndarray:
    """Indices of the data set that one pass gives, each once, in order; of a copied loader."""
    try:
        if loader.batch_sampler is not None and type(loader.batch_sampler) is not torch.utils.data.BatchSampler:
            given = [int(i) for batch in loader.batch_sampler for i in batch]
        else:
            given = [int(i) for i in loader.sampler]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return np.arange(len(loader.dataset))  # type: ignore[arg-type]
    return np.unique(np.asarray(given, dtype=np.int64))


def raw_arrays(data: Any) -> list[Any]:
    """Arrays in a data set's attributes that hold one row for each of its indices, those of most numbers first."""
    try:
        count = len(data)
    except TypeError:
        return []
    values: list[Any] = []
    for value in vars(data).values() if hasattr(data, "__dict__") else ():
        values += value if isinstance(value, tuple | list) and len(value) < 8 else [value]
    found = [v for v in values if isinstance(v, Tensor | np.ndarray) and v.ndim > 1 and len(v) == count]
    return sorted(found, key=lambda v: -math.prod(v.shape))


def vector(value: Any) -> np.ndarray | None:
    """All numbers of one row's inputs in one vector; texts and other things by their digest; None where neither is possible.

    >>> vector((torch.ones(2), [3])).tolist()
    [1.0, 1.0, 3.0]
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().double().numpy().ravel()
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        array = np.asarray(value)
        return array.astype(np.float64).ravel() if array.dtype.kind in "fiub" else None
    if isinstance(value, bool | int | float):
        return np.array([float(value)])
    if isinstance(value, str | bytes):
        digest = hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()
        return np.frombuffer(digest, np.uint32).astype(np.float64)
    if isinstance(value, Mapping):
        value = [value[k] for k in sorted(value)]
    if isinstance(value, tuple | list):
        parts = [vector(v) for v in value]
        return None if not parts or any(p is None for p in parts) else np.concatenate(parts)  # type: ignore[arg-type]
    return None


def reads_differ(data: Any, index: int) -> bool:
    """Whether reading one row twice, with other random numbers, gives two things. Of a copied data set."""
    reads = []
    for seed in (11, 12, 13):
        with random_state_kept(seed):
            reads.append(vector(taken_apart(data[index])[0]))
    return any(r is not None and first is not None and (r.shape != first.shape or not np.array_equal(r, first, equal_nan=True))
               for first in reads[:1] for r in reads[1:])


def read_rows(exam: Exam, part: str) -> list[np.ndarray]:
    """Input vectors of the rows behind a loader, as far as time and :data:`AT_MOST_ROWS` allow.

    Of a data set whose reads are random (augmentation) the arrays that it holds, if it holds any.
    """
    loader = exam.loader(part)
    began, found = time.monotonic(), []
    with random_state_kept(7):
        for value in _values(exam, part, loader):
            row = vector(value)
            if row is None:
                raise NotExaminable(f"rows of {part} are no numbers and no texts")
            found.append(row)
            if len(found) >= AT_MOST_ROWS or time.monotonic() - began > AT_MOST_SECONDS:
                break
    return found


def _values(exam: Exam, part: str, loader: Any) -> Iterator[Any]:
    model = exam.set_up.model
    if is_map_style(loader):
        indices = sampled(loader)
        if len(indices) and not reads_differ(loader.dataset, int(indices[0])):
            yield from (taken_apart(loader.dataset[int(i)], model)[0] for i in indices)
            return
        below = source(exam, part)
        arrays = raw_arrays(below.base) if below is not None else []
        if below is not None and arrays:
            yield from (arrays[0][int(i)] for i in below.indices)
            return
        yield from (taken_apart(loader.dataset[int(i)], model)[0] for i in indices)
        return
    for batch in loader:
        inputs, _ = taken_apart(batch, model)
        yield from split_rows(inputs)


def split_rows(inputs: Any) -> Iterator[Any]:
    """The rows of a batch of inputs."""
    if isinstance(inputs, Mapping):
        parts = [list(split_rows(inputs[k])) for k in sorted(inputs)]
    elif isinstance(inputs, tuple | list) and inputs and isinstance(inputs[0], Tensor | np.ndarray):
        parts = [list(split_rows(v)) for v in inputs]
    else:
        yield from inputs if hasattr(inputs, "__iter__") and not (hasattr(inputs, "ndim") and inputs.ndim == 0) else ()
        return
    yield from zip(*parts, strict=False)


class Alike:
    """Finds rows that are equal up to rounding, by projections on eight random directions.

    Columns are first divided by their standard deviation over ``rows``. Two rows are alike when they are less than ``tolerance``
    standard deviations apart.

    Attributes:
        tolerance: in standard deviations of a column.
        chance: probability that two rows are equal by chance, if columns were independent.
        coarse: whether most columns have few values (codes, tokens, counts, rounded numbers), so that rows may be equal by nature.
    """

    def __init__(self, rows: Sequence[np.ndarray]):
        lengths = {len(r) for r in rows}
        self._width = max(lengths)
        some = np.stack([self._padded(r) for r in rows[:512]])
        scale = some.std(0) if len(lengths) == 1 else np.full(self._width, some.std())
        self._scale = np.where(scale > 1e-12, scale, 1.0)
        self._moving = max(1, int((scale > 1e-12).sum()))
        self.tolerance = 1e-3 if self._moving >= 8 else 1e-5 if self._moving >= 4 else 1e-7
        self._directions = np.random.default_rng(3).standard_normal((self._width, DIRECTIONS)) / math.sqrt(self._moving)
        self.chance = self._collision(some)
        distinct = [len(np.unique(column)) for column in some.T[scale > 1e-12][:4096]]
        self.coarse = bool(distinct) and float(np.median(distinct)) < 0.5 * len(some)

    def _padded(self, row: np.ndarray) -> np.ndarray:
        row = np.nan_to_num(row[:self._width], nan=-1e3)
        return np.pad(row, (0, self._width - len(row))) if len(row) < self._width else row

    def _collision(self, some: np.ndarray) -> float:
        """Probability that two rows are equal by chance, if columns were independent."""
        total = 0.0
        for column in some.T[self._scale != 1.0][:4096]:
            _, counts = np.unique(column, return_counts=True)
            pairs = len(column) * (len(column) - 1)
            total += math.log(max(float((counts * (counts - 1)).sum()) / pairs, 1e-4)) if pairs else 0.0
        return math.exp(max(total, -200.0))

    def __call__(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Projections (n, 8); rows of another width than any row known are nowhere near."""
        found = np.empty((len(rows), DIRECTIONS))
        for start in range(0, len(rows), 256):
            chunk = np.stack([self._padded(r) for r in rows[start:start + 256]])
            found[start:start + 256] = (chunk / self._scale) @ self._directions
        return found

    def matches(self, left: np.ndarray, right: np.ndarray) -> dict[int, int]:
        """Row of ``right`` -> a row of ``left`` that it is like."""
        found: dict[int, int] = {}
        width = 20 * self.tolerance
        for offset in (0.0, 0.37, 0.71):
            cells: dict[tuple[int, ...], list[int]] = {}
            for number, key in enumerate(np.floor(left[:, :4] / width + offset).astype(np.int64).tolist()):
                cells.setdefault(tuple(key), []).append(number)
            for number, key in enumerate(np.floor(right[:, :4] / width + offset).astype(np.int64).tolist()):
                if number in found:
                    continue
                for other in cells.get(tuple(key), ())[:50]:
                    if np.abs(left[other] - right[number]).max() < 3 * self.tolerance:
                        found[number] = other
                        break
        return found

    def repeated(self, projected: np.ndarray) -> dict[int, int]:
        """Row -> an earlier row that it is like."""
        found: dict[int, int] = {}
        width = 20 * self.tolerance
        for offset in (0.0, 0.37, 0.71):
            cells: dict[tuple[int, ...], list[int]] = {}
            for number, key in enumerate(np.floor(projected[:, :4] / width + offset).astype(np.int64).tolist()):
                earlier = cells.setdefault(tuple(key), [])
                if number not in found:
                    for other in earlier[:50]:
                        if np.abs(projected[other] - projected[number]).max() < 3 * self.tolerance:
                            found[number] = other
                            break
                earlier.append(number)
        return found

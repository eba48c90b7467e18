"""Rows that are in two loaders, or twice in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wellfit.doctor.exam import LOADERS, Exam, NotExaminable
from wellfit.doctor.finding import Severity
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.rows import Alike, read_rows, source


@dataclass(frozen=True)
class AllRows:
    """Projections of the rows of each loader, and the way they are compared."""

    alike: Alike
    parts: dict[str, np.ndarray]


def all_rows(exam: Exam) -> AllRows:
    rows = {part: read_rows(exam, part) for part in LOADERS if getattr(exam.set_up, part) is not None}
    rows = {part: found for part, found in rows.items() if found}
    if not rows:
        raise NotExaminable("the loaders give no rows")
    alike = Alike(next(iter(rows.values())))
    return AllRows(alike, {part: alike(found) for part, found in rows.items()})


MOST = 0.4
"""Share of rows that repeat from which, where columns have few values, rows are taken to be few, not to be copied."""

FIX = """order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
cut = int(0.8 * len(order))
train_set, val_set = Subset(data, order[:cut]), Subset(data, order[cut:])  # drop duplicates first, or keep them on one side"""


@check("overlapping-splits", severity="error", evidence="data", needs=("train_loader|val_loader", "val_loader|test_loader"),
       why="A row that was trained on is no test of anything: the metric rewards remembering it.",
       source="Barz & Denzler (2020), Do we train on test data? (ciFAIR), arXiv:1902.00423; Kapoor & Narayanan (2023), Leakage "
              "and the reproducibility crisis")
def overlapping_splits(exam: Exam) -> Iterator[Observed]:
    present = [p for p in LOADERS if getattr(exam.set_up, p) is not None]
    sources = {part: source(exam, part) for part in present}
    for number, left in enumerate(present):
        for right in present[number + 1:]:
            a, b = sources[left], sources[right]
            if a is not None and b is not None and a.base is b.base:
                common = np.intersect1d(a.indices, b.indices)
                if len(common):
                    yield Observed(f"{left} and "
                                   f"{right}", f"{len(common)} of the {len(b.indices)} rows of {right} are rows of {left}: both "
                                               f"read the same data set, and share indices such as {common[:5].tolist()}", FIX)
                    continue
            yield from _alike(exam, left, right)


def _alike(exam: Exam, left: str, right: str) -> Iterator[Observed]:
    found = exam.once(all_rows)
    if left not in found.parts or right not in found.parts:
        return
    first, second = found.parts[left], found.parts[right]
    shared = found.alike.matches(first, second)
    by_chance = found.alike.chance * len(first) * len(second)
    if not shared or len(shared) <= 3 * by_chance + 1:
        return
    share = len(shared) / len(second)
    own = len(found.alike.repeated(first)) / len(first)
    natural = min(1.0, 2 * own) * len(second) if found.alike.coarse else 0.0  # draws from few rows: own repeats foretell others
    certain = len(shared) >= 3 and share >= 0.01 and len(shared) > 1.5 * natural + 3 * natural ** 0.5
    severity: Severity = "error" if certain else "warning" if share >= 0.005 and not natural else "note"
    pairs = ", ".join(f"{right}[{j}] = {left}[{i}]" for j, i in sorted(shared.items())[:3])
    yield Observed(f"{left} and {right}",
                   f"{len(shared)} of {len(second)} rows of {right} ({share:.1%}) equal rows of {left} up to rounding ({pairs}); "
                   f"{own:.1%} of {left} repeat within it", FIX, severity)


@check("duplicate-rows", severity="warning", evidence="data", needs=("train_loader|val_loader|test_loader",),
       why="Rows that are there several times weigh more in the loss and the metric, and land on both sides of any random split.",
       source="Lee et al. (2022), Deduplicating training data makes language models better, arXiv:2107.06499; Barz & Denzler "
              "(2020)")
def duplicate_rows(exam: Exam) -> Iterator[Observed]:
    found = exam.once(all_rows)
    all_repeated = {part: found.alike.repeated(projected) for part, projected in found.parts.items()}
    few = found.alike.coarse and any(len(r) > MOST * len(found.parts[part]) for part, r in all_repeated.items())
    for part, projected in found.parts.items():
        repeated = all_repeated[part]
        by_chance = found.alike.chance * len(projected) ** 2 / 2
        if len(repeated) <= 3 * by_chance + 1 or len(repeated) < 2:
            continue
        share = len(repeated) / len(projected)
        pairs = ", ".join(f"[{j}] = [{i}]" for j, i in sorted(repeated.items())[:3])
        yield Observed(part, f"{len(repeated)} of {len(projected)} rows ({share:.1%}) equal an earlier row of the same loader "
                             f"({pairs})",
                       "_, first = np.unique(x.reshape(len(x), -1), axis=0, return_index=True)\n"
                       "x, y = x[np.sort(first)], y[np.sort(first)]  # before splitting",
                       "warning" if share >= 0.01 and not few else "note")

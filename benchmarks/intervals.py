#!/usr/bin/env python3
"""Do the 95% intervals of the measures hold on real tables?

Networks are trained on few rows of a large table, whose other rows give the truth. Each part draws its rows and seeds anew, many
times, and counts how often the interval holds the truth:

  gap, fixed test part   held-out less training error, 3 seeds, 40 and 200 test rows; truth: 10 seeds on thousands of rows
  gap, cross-validated   5 folds of 80 and of 400 rows, 2 seeds, rows paired; truth: thousands of rows, mean over
                         samples
  error, plain, nested   the mean error of that cross-validation, without and with the pairs of folds (nested_interval)
  variance, bias         4 times two networks on halves of 160 rows, 300 test rows; truth: 40 networks on fresh rows
  calibration            300 test rows of one network; truth: thousands of rows

Errors are wrong answers (0 or 1) or squared errors; "loss" is the log loss. A network's log loss on few rows hangs on single rows
that it gets badly wrong: no interval from 40 rows can know of a row it has not seen.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, closed, environment, one_thread, table, verdict, words, write_json
from forecast_curves import tables

from wellfit.core.recipe import Recipe
from wellfit.data import load_table
from wellfit.diagnosis.measures.bias_variance import bias_variance
from wellfit.diagnosis.measures.calibration import calibration
from wellfit.diagnosis.measures.estimate import Estimate
from wellfit.diagnosis.measures.gap import generalization_gap, nested_interval, paired_difference
from wellfit.population.pool import Pool
from wellfit.population.problem import Member
from wellfit.population.train import Wants
from wellfit.search.prepare import PreparedTable, prepare
from wellfit.search.score import Scorer, softmax
from wellfit.search.settings import Settings

TABLES = ("phoneme", "adult", "california_housing")
POOL, EPOCHS = 3000, 40
LEAST, RATIO = 0.88, "variance, estimate / truth"


class Table:
    """A table, and networks trained on some of its rows, with predictions for all rows of interest."""

    def __init__(self, prepared: PreparedTable, pool: Pool, repeats: int):
        self.prepared, self.pool, self.repeats, self.calls = prepared, pool, repeats, 0
        rng = np.random.default_rng(0)
        rows = rng.permutation(len(prepared.table.y))
        self.judged, self.rest = rows[:POOL], rows[POOL:]
        self.y = prepared.table.y
        self.hits: dict[str, list[float]] = defaultdict(list)

    def trained(self, sets: list[np.ndarray], extra: np.ndarray, seeds: list[int]) -> np.ndarray:
        """(len(sets), len(extra), C) predictions."""
        size = min(len(s) for s in sets)
        settings = Settings(hidden=(64, 64), epochs=EPOCHS, batch_size=min(16, size), folds=1)
        problem = self.prepared.problem(settings, tuple((s, np.zeros(0, dtype=np.int64)) for s in sets))
        members = {k: Member(Recipe(), 3e-3, seed, k) for k, seed in enumerate(seeds)}
        self.calls += 1
        records = self.pool.train(f"{self.prepared.name}-{self.calls}", problem, members,
                                  wants=Wants(extra_rows=torch.from_numpy(extra)))
        outputs = np.stack([np.asarray(records[k].extra, dtype=np.float64) for k in range(len(sets))])
        return softmax(outputs) if self.prepared.scale is None else outputs

    def rows(self, kind: str, predictions: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(m, n) contributions of predictions (m, n, C). Regression: in standardised units."""
        y = self.prepared.targets[rows]
        metric = {"error": "accuracy", "loss": "log_loss"}[kind] if self.prepared.classes else "rmse"
        scorer = Scorer(metric, y, self.prepared.classes)
        return np.stack([scorer.rows(p) for p in predictions])

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("error", "loss") if self.prepared.classes else ("error",)

    def count(self, what: str, found: Estimate, truth: float) -> None:
        self.hits[what].append(float(found.low <= truth <= found.high))


def fixed_part(t: Table, rng: np.random.Generator) -> None:
    for _ in range(3):
        train = np.sort(rng.permutation(t.rest)[:300])
        predictions = t.trained([train] * 10, np.concatenate([train, t.judged]), list(rng.integers(1 << 30, size=10)))
        for kind in t.kinds:
            own = t.rows(kind, predictions[:, :300], train)
            held = t.rows(kind, predictions[:, 300:], t.judged)
            truth = float(held.mean() - own.mean())
            for trial, n in itertools.product(range(t.repeats), (40, 200)):
                seeds, some = rng.permutation(10)[:3], rng.permutation(POOL)[:n]
                found = generalization_gap(own[seeds], held[seeds][:, some], same_rows=False, draws=300, seed=trial)
                t.count(f"gap, fixed test part, {n} rows, {kind}", found, truth)
        if t.prepared.classes:
            y = t.prepared.targets[t.judged]
            for one in predictions[:3, 300:]:
                truth = calibration(one, y, bins=15, draws=2).error.value
                for trial in range(t.repeats // 2):
                    some = rng.permutation(POOL)[:300]
                    t.count("calibration, 300 rows", calibration(one[some], y[some], draws=200, seed=trial).error, truth)


def cross_validated(t: Table, rng: np.random.Generator) -> None:
    count, seeds = 5, 2
    pairs = list(itertools.combinations(range(count), 2))
    gaps: dict[tuple[int, str], list[tuple[Estimate, float]]] = defaultdict(list)
    for trial, n in itertools.product(range(t.repeats), (80, 400)):
        rows = rng.permutation(t.rest)[:n]
        fold = np.arange(n) % count
        everything = np.concatenate([rows, t.judged])
        single = t.trained([rows[fold != k] for k in range(count)] * seeds, everything,
                           list(rng.integers(1 << 30, size=count * seeds)))
        double = t.trained([rows[(fold != a) & (fold != b)] for a, b in pairs], everything,
                           list(rng.integers(1 << 30, size=len(pairs))))
        for kind in t.kinds:
            values = t.rows(kind, single, everything).reshape(seeds, count, -1)
            out = np.arange(count)[:, None] == fold
            own, held = np.where(out, np.nan, values[..., :n]), np.where(out, values[..., :n], np.nan)
            real = float(values[..., n:].mean())
            gaps[n, kind].append((generalization_gap(own, held, draws=300, seed=trial), real - float(np.nanmean(own))))
            held_rows = np.nansum(held, axis=1)
            plain = paired_difference(held_rows, np.zeros_like(held_rows), folds=count, draws=300, seed=trial)
            t.count(f"error, plain, {n} rows, {kind}", plain, real)
            table_of_pairs = np.zeros((count, n))
            for (a, b), value in zip(pairs, t.rows(kind, double, everything), strict=True):
                table_of_pairs[a, fold == b], table_of_pairs[b, fold == a] = value[:n][fold == b], value[:n][fold == a]
            t.count(f"error, nested, {n} rows, {kind}", nested_interval(held_rows, table_of_pairs, fold), real)
    for (n, kind), found in gaps.items():  # rows are paired, so that the truth is the mean over samples of so many rows
        for estimate, _ in found:
            t.count(f"gap, cross-validated, {n} rows, {kind}", estimate, float(np.mean([real for _, real in found])))


def halves(t: Table, rng: np.random.Generator) -> None:
    test = t.judged[:POOL]
    sets = np.array_split(rng.permutation(t.rest)[:40 * 80], 40)
    fresh = t.trained([np.sort(s) for s in sets], test, list(rng.integers(1 << 30, size=len(sets))))
    y = t.prepared.targets[test]
    if t.prepared.classes:  # centre and variance by jackknife over the 40 networks
        logs = np.log(np.clip(fresh, 1e-30, None))
        error = float(-logs[:, np.arange(len(y)), y].mean())
        spread = [float(-np.log(np.exp(logs[:m].mean(axis=0)).sum(axis=1)).mean()) for m in (20, 40)]
        variance = 2 * spread[1] - spread[0]
    else:
        error = float(((fresh[:, :, 0] - y) ** 2).mean())
        variance = float(fresh[:, :, 0].var(axis=0, ddof=1).mean())
    for trial in range(t.repeats):
        rows, some = rng.permutation(t.rest)[:160], rng.permutation(POOL)[:300]
        orders = [rng.permutation(rows) for _ in range(4)]
        predictions = t.trained([np.sort(o[part]) for o in orders for part in (slice(0, 80), slice(80, None))], test[some],
                                list(rng.integers(1 << 30, size=8)))
        shaped = predictions.reshape(4, 2, 300, -1)
        found = bias_variance(shaped if t.prepared.classes else shaped[..., 0], y[some], draws=300, seed=trial)
        t.count("variance, two halves", found.variance, variance)
        one = bias_variance(shaped[:1] if t.prepared.classes else shaped[:1, ..., 0], y[some], draws=300, seed=trial)
        t.count("variance, two halves once", one.variance, variance)
        t.count("bias and noise, two halves", found.bias, error - variance)
        t.hits[RATIO].append(found.variance.value / variance)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--only", type=words, default=list(TABLES))
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS / "intervals.json")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    with one_thread(), Pool(1) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, source, target, task, group in tables(arguments.data, arguments.only):
            prepared = prepare(load_table(source, target, task=task, group=group), seed=0, folds=None, metric=None, weighting="none"
                               if task != "regression" else None, encoding="plain")
            t = Table(prepared, pool, arguments.repeats)
            for part in (fixed_part, cross_validated, halves):
                part(t, np.random.default_rng(1))
            found[name] = dict(t.hits)
            print(f"{name}: {t.calls} trainings of stacks", flush=True)
    kinds = sorted({k for hits in found.values() for k in hits}, key=lambda k: (k == RATIO, k))
    lines = [[k, *(f"{100 * np.mean(h[k]):.0f}" if k in h else None for h in found.values()),
              f"{100 * np.mean(np.concatenate([h[k] for h in found.values() if k in h])):.1f}"] for k in kinds]
    print("\nHow often the 95% interval holds the truth, percent\n")
    print(table(["interval", *found, "all"], lines))
    held: list[Any] = [np.mean(h[k]) for h in found.values() for k in h if k.startswith(("gap", "calibration")) and "loss" not in k]
    share = float(np.mean(held)) if held else float("nan")
    print(verdict(share >= LEAST if held else None, f"gaps of errors and calibration are covered in {100 * LEAST:.0f}% or more: "
                                                    f"{100 * share:.1f}%"))
    return closed(write_json(arguments.out, {"benchmark": "intervals", "environment": environment(), "tables": found}), [])


if __name__ == "__main__":
    sys.exit(main())

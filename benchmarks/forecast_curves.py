"""Learning curves for ``forecast.py``: networks trained on nested subsets of real tables, judged on fixed held-out rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import read_json

from wellfit.core.recipe import Recipe
from wellfit.data import load_table
from wellfit.population.pool import Pool
from wellfit.population.problem import Member
from wellfit.population.train import Wants
from wellfit.search.prepare import PreparedTable, prepare
from wellfit.search.score import METRICS, Scorer, softmax
from wellfit.search.settings import Settings

BASES, PARTS, DRAWS = (0.5, 0.25), (8, 4, 2, 1), 3
MOST_ROWS, MOST_TEST, STEPS, SMALLEST = 8000, 2000, 1200, 10
GROUPS = {"mice_protein": "mouse"}


def tables(folder: Path, only: list[str] | None) -> Iterator[tuple[str, Any, str, str, str | None]]:
    """Name, source, target, task and group column of every table, those of scikit-learn last."""
    from sklearn import datasets

    for row in read_json(folder / "manifest.json")["datasets"]:
        if row["kind"] == "tabular" and (not only or row["name"] in only):
            yield row["name"], folder / row["file"], row["target"], row["task"], GROUPS.get(row["name"])
    for name, task in (("digits", "multiclass"), ("breast_cancer", "binary"), ("wine", "multiclass"), ("iris", "multiclass"),
                       ("diabetes", "regression")):
        if not only or name in only:
            found = getattr(datasets, f"load_{name}")(as_frame=True)
            yield name, found.frame, "target", task, None


def trained(pool: Pool, prepared: PreparedTable, sets: list[np.ndarray], test: np.ndarray, settings: Settings, seed: int
            ) -> np.ndarray:
    """(R, n_test, C) predictions of one network for each set of training rows, all as large."""
    size = len(sets[0])
    batch = min(settings.batch_size, max(8, size // 8))
    epochs = int(np.clip(STEPS // max(size // batch, 1), 10, 200))
    here = Settings(hidden=settings.hidden, epochs=epochs, batch_size=batch, folds=1)
    problem = prepared.problem(here, tuple((rows, np.zeros(0, dtype=np.int64)) for rows in sets))
    members = {n: Member(Recipe(), 1e-3, seed + 7919 * n, n) for n in range(len(sets))}
    records = pool.train(f"{prepared.name}-{seed}-{size}", problem, members,
                         wants=Wants(extra_rows=torch.from_numpy(test)))
    out = []
    for n in range(len(sets)):
        extra = records[n].extra
        assert extra is not None
        scale = prepared.scale
        out.append(softmax(extra) if scale is None else extra * scale[1] + scale[0])
    return np.stack(out).astype(np.float64)


def curves(folder: Path, only: list[str] | None, seeds: list[int], pool: Pool, done: set[tuple[str, int]]
           ) -> Iterator[dict[str, Any]]:
    """One curve per table, seed (those not ``done``), base size m and metric: errors (4, R) at m/8 .. m, and at 2m,
    which are the truth.

    The m rows stand for all a user has: smaller sets are drawn from them, and only seeds differ at m itself. The next m rows are
    what twice the data would bring.
    """
    for name, source, target, task, group in tables(folder, only):
        for seed in seeds:
            if (name, seed) in done:
                continue
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table = load_table(source, target, task=task, group=group)
                prepared = prepare(table, seed=seed, folds=None, metric=None, weighting=None, encoding="plain")
            rng = np.random.default_rng(seed)
            rows = rng.permutation(prepared.split.development)[:MOST_ROWS]
            test = rng.permutation(prepared.split.test)[:MOST_TEST]
            settings = Settings.for_size(len(rows), prepared.inputs.shape[1])
            truth: np.ndarray | None = None
            for base in BASES:
                m = int(len(rows) * base)
                sizes = [m // part for part in PARTS if m // part >= SMALLEST]
                if len(sizes) < 3:
                    continue
                if truth is None:
                    truth = trained(pool, prepared, [np.sort(rows[:2 * m])] * DRAWS, test, settings, seed + 1)
                predictions = {size: trained(pool, prepared, [np.sort(rng.permutation(rows[:m])[:size]) for _ in range(DRAWS)],
                                             test, settings, seed) for size in sizes}
                for metric in METRICS[task]:
                    scorer = Scorer(metric, table.y[test], prepared.classes)
                    yield {"table": name, "seed": seed, "base": m, "metric": metric, "rows_judged": len(test),
                           "unit": float(table.y[rows].std()) if metric == "rmse" else 1.0,
                           "sizes": sorted(predictions), "truth": errors(scorer, truth),
                           "errors": [errors(scorer, predictions[size]) for size in sorted(predictions)],
                           "seconds": time.perf_counter() - began}
                truth = predictions[m]  # what the next base, half as large, forecasts


def errors(scorer: Scorer, predictions: np.ndarray) -> list[float]:
    """One error for each network."""
    return [float(scorer.error(scorer.rows(p))) for p in predictions]

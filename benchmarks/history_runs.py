#!/usr/bin/env python3
"""Real training histories with their truth: what ``benchmarks/history.py`` judges the verdicts on curves by.

On every data set the built-in network is trained by the engine in many ways: widths, learning rates from far too low to far
too high, regularizers from none to far too strong, few rows and more, Adam and SGD. Every run goes on for four times as long
as what is shown of it, and its loss on test rows that no verdict sees is kept after every epoch. So the truth about a
history that ends at epoch E is known from runs that were made, not from the look of the curves:

  stop      how much lower the test loss was at the epoch with the lowest validation loss
  longer    how much lower it gets by epoch 4E, stopped by validation loss
  rate      how much lower it is by epoch E with another learning rate, all else equal
  lighter   how much lower it is by epoch E without the regularizer
  stronger  how much lower it is by epoch E with a regularizer
  wider     how much lower it is by epoch E with a wider network

The best epoch of the other run is chosen by its validation loss as well, so nothing is gained by peeking at test rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import RESULTS, write_json

import wellfit as wf
from wellfit.population.network import NetworkSpec
from wellfit.population.pool import Pool
from wellfit.population.problem import Fold, Member, Objective, Problem

BUNDLED = ("breast_cancer", "wine", "digits", "diabetes", "iris", "made_regression")
OPEN = ("credit_g", "arrhythmia", "phoneme", "kc1", "vehicle", "cnae_9", "shuttle", "car", "telco_churn", "mice_protein",
        "california_housing", "abalone", "concrete", "madelon", "adult")
WIDTHS = (2, 24, 160)
RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of Adam; SGD's are ten times as large
RECIPES: dict[str, wf.Recipe] = {
    "none": wf.Recipe(), "decay": wf.Recipe(wf.WeightDecay(0.1)), "dropout": wf.Recipe(wf.Dropout(0.3)),
    "l2": wf.Recipe(wf.L2(3e-3)), "too much l2": wf.Recipe(wf.L2(0.3)), "too much l1": wf.Recipe(wf.L1(0.03)),
    "too much dropout": wf.Recipe(wf.Dropout(0.85)), "too much decay": wf.Recipe(wf.WeightDecay(30.0)),
}
STRONG = [name for name in RECIPES if name.startswith("too much")]
LONGER = 4
TEST_ROWS, VALIDATION_ROWS = 1500, 300


@dataclass(frozen=True)
class SetUp:
    """Rows, batch, optimizer and the length of the longest history of one family of runs."""

    rows: int
    batch: int
    optimizer: str
    epochs: int


SET_UPS = (SetUp(100, 16, "adam", 60), SetUp(700, 64, "adam", 30), SetUp(250, 32, "sgd", 50))


def encoded(frame: pd.DataFrame, target: str, task: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Numbers standardized, categories one-hot, missing cells at the median; targets as classes or standardized."""
    features = frame.drop(columns=[target])
    numeric = features.select_dtypes("number")
    parts = [((numeric - numeric.mean()) / numeric.std().replace(0, 1)).fillna(0.0).clip(-6, 6)]
    categories = features.drop(columns=numeric.columns)
    if len(categories.columns):
        parts.append(pd.get_dummies(categories.fillna("missing").astype(str)).astype(float))
    inputs = pd.concat(parts, axis=1).to_numpy(np.float32)
    if task == "regression":
        y = frame[target].to_numpy(np.float64)
        return inputs, ((y - y.mean()) / y.std()).astype(np.float32), 1
    codes, names = pd.factorize(frame[target].astype(str))
    return inputs, codes.astype(np.int64), len(names)


def bundled(name: str) -> tuple[np.ndarray, np.ndarray, int, str]:
    from sklearn import datasets

    if name == "made_regression":  # 20 numbers of which 4 count
        x, y = datasets.make_regression(3000, 20, n_informative=4, noise=60.0, random_state=0)
        task = "regression"
    else:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        task = "regression" if name == "diabetes" else "multiclass"
    frame = pd.DataFrame(x)
    frame["target"] = y
    return *encoded(frame, "target", task), task


def load(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray, int, str]:
    """(inputs, targets, outputs, task) of a data set."""
    if name in BUNDLED:
        return bundled(name)
    entry = next(e for e in json.loads((folder / "manifest.json").read_text())["datasets"] if e["name"] == name)
    frame = pd.read_csv(folder / entry["file"])
    task = "regression" if entry["task"] == "regression" else "multiclass"
    return *encoded(frame.drop(columns=[entry["group_column"]] if entry.get("group_column") in frame else []),
                    entry["target"], task), task


def grid() -> Iterator[tuple[int, float, str]]:
    """(width, learning rate, recipe) of every run of a family."""
    for width in WIDTHS:
        for rate in RATES:
            for recipe in RECIPES:
                middle = rate in (1e-3, 1e-2)
                if recipe == "none" or (middle and width > 2):
                    yield width, rate, recipe


def family(name: str, data: tuple[np.ndarray, np.ndarray, int, str], set_up: SetUp, seed: int, pool: Pool) -> list[dict[str, Any]]:
    """All runs of one family, each with its losses and errors by epoch on training, validation and test rows."""
    inputs, targets, outputs, task = data
    order = np.random.default_rng([seed, set_up.rows]).permutation(len(inputs))
    held = min(VALIDATION_ROWS, len(order) // 5)
    tested = min(TEST_ROWS, len(order) // 3)
    validation, test, train = order[:held], order[held:held + tested], order[held + tested:][:set_up.rows]
    used = np.concatenate([train, validation, test])
    at = torch.arange(len(used))
    folds = (Fold(at[:len(train)], at[len(train):len(train) + held]), Fold(at[:len(train)], at[len(train) + held:]))
    x, y = torch.from_numpy(inputs[used]), torch.from_numpy(targets[used])
    metric = "rmse" if task == "regression" else "accuracy"
    runs = []
    for width in WIDTHS:
        problem = Problem(NetworkSpec(x.shape[1], (width, width), outputs), x, y, folds, Objective(task, metric),  # type: ignore[arg-type]
                          LONGER * set_up.epochs, set_up.batch, optimizer=set_up.optimizer)
        factor = 10.0 if set_up.optimizer == "sgd" else 1.0
        wanted = [(rate, recipe) for w, rate, recipe in grid() if w == width]
        members = {2 * i + fold: Member(RECIPES[recipe], rate * factor, seed, fold) for i, (rate, recipe) in enumerate(wanted)
                   for fold in (0, 1)}
        records = pool.train(f"{name}-{set_up.rows}-{seed}-{width}", problem, members)
        for i, (rate, recipe) in enumerate(wanted):
            shown, hidden = records[2 * i].history, records[2 * i + 1].history
            runs.append({"dataset": name, "task": task, "classes": outputs, "rows": len(train), "set_up": set_up.rows,
                         "optimizer": set_up.optimizer, "seed": seed, "epochs": set_up.epochs, "width": width, "rate": rate,
                         "recipe": recipe,
                         **{k: [float(f"{v:.6g}") for v in values] for k, values in (
                             ("train_loss", shown["train_loss"]), ("train_error", shown["train_error"]),
                             ("validation_loss", shown["validation_loss"]), ("validation_error", shown["validation_error"]),
                             ("test_loss", hidden["validation_loss"]), ("test_error", hidden["validation_error"]))}})
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "history_runs")
    options = parser.parse_args()
    wanted = [n for n in options.only.split(",") if n] or [*BUNDLED, *OPEN]
    with Pool(options.workers) as pool:
        for seed in map(int, options.seeds.split(",")):
            for name in wanted:
                data = None
                for set_up in SET_UPS:
                    path = options.out / f"{name}-{set_up.rows}-{set_up.optimizer}-{seed}.json"
                    if path.exists():
                        continue
                    data = data or load(name, options.data)
                    if len(data[0]) < 1.7 * set_up.rows:
                        continue
                    started = time.perf_counter()
                    write_json(path, family(name, data, set_up, seed, pool))
                    print(f"{path.name}: {time.perf_counter() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

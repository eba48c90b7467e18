#!/usr/bin/env python3
"""Many inputs of which few matter: which penalty finds them, and what is the network worth then?

For every data set: the strength of each method is chosen by 3-fold cross-validation on the development rows; the choice is trained
on all of them with three seeds and judged on the test rows. Printed: test balanced accuracy, and how many inputs are left.

  none          no regularization, two learning rates
  l1            L1 on all weights
  group_lasso   on what leaves each input
  group_mcp     the same with a pull that ends
  lassonet      (where the package is installed) its path, the point with the best score on a fifth of the development rows

Without ``--data``: rows made by scikit-learn's ``make_classification`` (5 informative inputs, 10 that repeat them, 285 of noise, a
hundredth of the labels flipped). With it: madelon too, which is such a set of 500 inputs, and other tables with more inputs than
matter by ``--only``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, closed, environment, mean, numbers, read_json, table, words, write_json

import wellfit as wf

EXAMPLES = """examples:
  python benchmarks/feature_selection.py
  python benchmarks/feature_selection.py --data DIR --only madelon --seeds 0,1,2
"""
SEEDS, RATE = 3, 3e-3
GRIDS: dict[str, list[tuple[wf.Recipe, float]]] = {
    "none": [(wf.Recipe(), 1e-3), (wf.Recipe(), RATE)],
    "l1": [(wf.Recipe(wf.L1(wf.WarmUp(s, fraction=0.4))), RATE) for s in (3e-5, 1e-4, 3e-4, 1e-3)],
    "group_lasso": [(wf.Recipe(wf.GroupLasso(wf.WarmUp(s, fraction=1.0))), RATE) for s in (3e-3, 1e-2, 3e-2, 6e-2)],
    "group_mcp": [(wf.Recipe(wf.GroupMCP(wf.WarmUp(s, fraction=0.5), r)), RATE) for s in (1e-2, 2e-2, 4e-2) for r in (1.2, 2.0)],
}


def made(seed: int) -> Any:
    import pandas as pd
    from sklearn.datasets import make_classification

    x, y = make_classification(n_samples=2500, n_features=300, n_informative=5, n_redundant=10, n_classes=2, n_clusters_per_class=8,
                               flip_y=0.01, class_sep=1.5, shuffle=True, random_state=seed)
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(300)]).assign(y=y)


def measured(source: Any, target: str, group: str | None, seed: int, epochs: int | None) -> dict[str, Any]:
    """Test scores and inputs left, by method."""
    import torch

    from wellfit.population.pool import Pool
    from wellfit.search.configuration import Configuration
    from wellfit.search.foundation import trainer_for
    from wellfit.search.opening import opened
    from wellfit.search.prepare import PreparedTable
    from wellfit.search.rundir import RunDirectory

    prepared, settings = opened({"data": source, "target": target, "seed": seed, "task": None, "metric": None,
                                 "class_weights": None, "group": group, "time": None, "test": None, "drop": [],
                                 "hidden": (128, 128, 128), "activation": None, "epochs": epochs, "batch_size": None, "folds": 3,
                                 "encoding": "plain", "engine": "auto"})
    assert isinstance(prepared, PreparedTable)
    split = prepared.split
    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Pool(1) as pool:
        run = RunDirectory.create(Path(folder) / "run")
        trainer = trainer_for(run, prepared, settings, pool, seed, "choose")
        every = [(name, Configuration(recipe, rate)) for name, grid in GRIDS.items() for recipe, rate in grid]
        found = trainer.evaluate("choose", [c for _, c in every])
        problem = replace(prepared.problem(settings, ((split.development, split.development[:0]),)), probe_rows=256)
        scorer = prepared.scorer(split.test)
        for name in GRIDS:
            best = min((o.merit, n) for n, ((own, _), (o,)) in enumerate(zip(every, found, strict=True)) if own == name)[1]
            fits = trainer.refit(name, problem, [(every[best][1], s, None) for s in range(SEEDS)], torch.from_numpy(split.test))
            left = [int((np.abs(next(w for n, w in f.weights.items() if n.endswith("weight"))) > 0).any(axis=0).sum())
                    for f in fits if f.weights is not None]
            scores = [scorer.score(scorer.error(scorer.rows(f.predictions))) for f in fits if f.predictions is not None]
            out[name] = {"test": mean(scores), "least": min(scores), "most": max(scores), "left": mean(left),
                         "chosen": every[best][1].to_mapping()}
    if (rival := lassonet(prepared, seed)) is not None:
        out["lassonet"] = rival
    return {"inputs": int(prepared.inputs.shape[1]), "methods": out}


def lassonet(prepared: Any, seed: int) -> dict[str, Any] | None:
    try:
        from lassonet import LassoNetClassifier
    except ImportError:
        return None
    rows = np.random.default_rng(seed).permutation(prepared.split.development)
    held, rest = rows[:len(rows) // 5], rows[len(rows) // 5:]
    x, y = prepared.inputs.astype(np.float32), prepared.table.y.astype(np.int64)
    scores = {name: prepared.scorer(part) for name, part in (("held", held), ("test", prepared.split.test))}

    def score(name: str, part: np.ndarray) -> float:
        rated = scores[name]
        return float(rated.score(rated.error(rated.rows(np.asarray(model.predict_proba(x[part]))))))

    model = LassoNetClassifier(hidden_dims=(128,), random_state=seed, torch_seed=seed, verbose=0)
    best, found = -np.inf, {}
    for point in model.path(x[rest], y[rest], X_val=x[held], y_val=y[held], return_state_dicts=True):
        model.load(point)
        if (value := score("held", held)) > best:
            best, found = value, {"test": score("test", prepared.split.test), "left": int(point.selected.sum())}
    return {**found, "least": found["test"], "most": found["test"]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with manifest.json and the tables (default: made rows only)")
    parser.add_argument("--only", type=words, default=["made", "madelon"], help="data sets (default %(default)s)")
    parser.add_argument("--seeds", type=numbers, default=[0], help="of splits and starts (default 0)")
    parser.add_argument("--epochs", type=int, help="default: by the number of rows")
    parser.add_argument("--out", type=Path, default=RESULTS / "feature_selection", help="folder of results (default %(default)s)")
    given = parser.parse_args(arguments)
    known = {} if given.data is None else {d["name"]: d for d in read_json(given.data / "manifest.json")["datasets"]}
    rows = []
    for name in given.only:
        for seed in given.seeds:
            if name != "made" and name not in known:
                continue
            file = given.out / f"{name}-seed{seed}.json"
            if not file.is_file():
                entry = known.get(name, {})
                source = made(seed) if name == "made" else given.data / entry["file"]
                result = measured(source, entry.get("target", "y"), entry.get("group_column"), seed, given.epochs)
                write_json(file, {"name": name, "seed": seed, **result, "environment": environment()})
            result = read_json(file)
            rows += [[f"{name} (seed {seed}, {result['inputs']} inputs)", method, f"{100 * row['test']:.1f}",
                      f"{100 * row['least']:.1f} to {100 * row['most']:.1f}", f"{row['left']:.0f}"]
                     for method, row in result["methods"].items()]
    print(table(["data", "method", "balanced accuracy %", "over 3 seeds", "inputs left"], rows))
    return closed(given.out, [])


if __name__ == "__main__":
    sys.exit(main())

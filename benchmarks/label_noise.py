#!/usr/bin/env python3
"""Wrong labels: are they found, and is their share told from classes that merely overlap?

Labels of real data are flipped to another class at random (0, 10, 20, 40 of 100). A small network of the built-in engine gives
out-of-fold probabilities; a forest and the nearest neighbours are the other witnesses. Measured are the AUROC of finding flipped
labels, beside cleanlab on the same probabilities (if it is installed), and the estimated share with its interval beside the true
one. Labels that were wrong before anything was flipped count as right here.

    python benchmarks/label_noise.py --data DIR --sets phoneme,mnist --rates 10
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, closed, environment, mean, numbers, one_thread, table, verdict, words, write_json
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

import wellfit as wf
from wellfit.core.schedule import Cosine
from wellfit.data import Preprocessor, load_table
from wellfit.diagnosis.measures.label_noise import (
    estimate_label_noise,
    forest_probabilities,
    joined,
    label_quality,
    neighbour_labels,
    neighbour_probabilities,
    stacked,
)
from wellfit.population.network import NetworkSpec
from wellfit.population.pool import Pool
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.search.score import softmax

SETS = ("phoneme", "mnist", "vehicle", "car", "shuttle", "telco_churn", "credit_g", "digits", "breast_cancer")
BUNDLED = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
WHOLE = 6000


def load(folder: Path, name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels; at most ``rows`` rows of tables longer than 6000, and of classes with at least six rows."""
    rng = np.random.default_rng(0)
    if name == "mnist":
        with gzip.open(folder / "mnist/train-images-idx3-ubyte.gz") as f:
            x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
        with gzip.open(folder / "mnist/train-labels-idx1-ubyte.gz") as f:
            y = np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64)
        kept = rng.choice(len(y), 2000, replace=False)
        return (x[kept] / 255 * 3 - 0.4).astype(np.float32), y[kept]
    if name in BUNDLED:
        bunch = BUNDLED[name]()
        x = bunch.data - bunch.data.mean(axis=0)
        scale = x.std() if name == "digits" else np.maximum(x.std(axis=0), 1e-6)
        return (x / scale).astype(np.float32), bunch.target.astype(np.int64)
    entry = next(d for d in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["datasets"] if d["name"] == name)
    source = load_table(folder / entry["file"], entry["target"])
    kept = np.arange(len(source)) if len(source) <= WHOLE else np.sort(rng.choice(len(source), rows, replace=False))
    y = source.y[kept].astype(np.int64)
    kept = kept[np.isin(y, np.flatnonzero(np.bincount(y) >= 6))]
    x = Preprocessor.fit(source, kept, encoding="piecewise", n_bins=16).transform(source.frame.iloc[kept])
    return x, np.unique(source.y[kept], return_inverse=True)[1].reshape(-1).astype(np.int64)


def flip(y: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1000 + seed)
    wrong = rng.random(len(y)) < rate
    classes = int(y.max()) + 1
    return np.where(wrong, (y + rng.integers(1, classes, len(y))) % classes, y), wrong


def network_probabilities(x: np.ndarray, y: np.ndarray, repeats: int, seed: int) -> np.ndarray:
    """(repeats, n, C): out-of-fold probabilities, five folds drawn anew for each repeat."""
    classes, batch = int(y.max()) + 1, 32 if len(y) < 2500 else 64
    epochs = int(np.clip(1000 * batch // len(y), 12, 60))
    parts = [pair for r in range(repeats)
             for pair in StratifiedKFold(5, shuffle=True, random_state=seed * 100 + r).split(x, y)]
    problem = Problem(NetworkSpec(x.shape[1], (96, 96), classes, "relu"), torch.from_numpy(x), torch.from_numpy(y),
                      tuple(Fold(torch.from_numpy(a), torch.from_numpy(b)) for a, b in parts),
                      Objective("binary" if classes == 2 else "multiclass", "log_loss", None), epochs, batch,
                      rate_schedule=Cosine(1.0, 0.0))
    recipe = wf.Recipe(wf.Dropout(0.2))
    with Pool(1) as pool:
        records = pool.train("noise", problem, {i: Member(recipe, 2e-3, seed=i // 5, fold=i) for i in range(len(parts))})
    out = np.zeros((repeats, len(y), classes))
    for i, (_, held) in enumerate(parts):
        outputs = records[i].outputs
        assert outputs is not None
        out[i // 5, held] = softmax(outputs.astype(np.float64))
    return out


def measure(x: np.ndarray, y: np.ndarray, rate: float, seed: int, repeats: int) -> dict[str, Any]:
    labels, wrong = flip(y, rate, seed)
    began = time.perf_counter()
    network = network_probabilities(x, labels, repeats, seed)
    trained = time.perf_counter() - began
    forest, near = forest_probabilities(x, labels, seed=seed), neighbour_probabilities(x, labels)
    found = estimate_label_noise(labels, network, forest, neighbours=neighbour_labels(x, labels, k=20))
    seconds = time.perf_counter() - began
    ours = stacked(labels, network, forest, near)
    result: dict[str, Any] = {
        "rows": len(y), "true": float(wrong.mean()), "rate": found.rate, "low": found.low, "high": found.high,
        "answer": found.answer, "joint_rate": found.joint_rate, "disagreement": found.disagreement, "network_seconds": trained,
        "seconds": seconds}
    if wrong.any():
        def auroc(score: np.ndarray) -> float:
            return float(roc_auc_score(wrong, -score))

        result |= {"auroc": auroc(label_quality(ours, labels)), "auroc_network": auroc(label_quality(joined(network), labels)),
                   "auroc_one_seed": auroc(label_quality(network[0], labels)), "auroc_forest": auroc(label_quality(forest, labels))}
        result |= cleanlab_scores(labels, joined(network), ours, auroc)
    return result


def cleanlab_scores(labels: np.ndarray, network: np.ndarray, ours: np.ndarray, auroc: Any) -> dict[str, float]:
    """cleanlab's scores on the network's probabilities and on ours, and its estimate of the noise; nothing if it is not there."""
    try:
        from cleanlab.count import estimate_joint
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = {f"cleanlab_{kind}": auroc(get_label_quality_scores(labels, p))
                  for kind, p in (("network", network), ("mixture", ours))}
        joint = estimate_joint(labels, ours)
    return {**scores, "cleanlab_rate": float(1 - np.trace(joint))}


def show(results: dict[str, dict[str, Any]]) -> list[str]:
    """Print both tables; the targets that were missed."""
    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for key, value in results.items():
        name, rate, _ = key.split("/")
        cells.setdefault((name, int(rate)), []).append(value)

    def average(rows: list[dict[str, Any]], key: str) -> str:
        return f"{mean([r[key] for r in rows]):.3f}" if all(key in r for r in rows) else ""

    print("\nAUROC of finding flipped labels (mean over seeds)")
    keys = ("auroc", "auroc_one_seed", "auroc_network", "auroc_forest", "cleanlab_network", "cleanlab_mixture")
    print(table(["set, flipped", "mixture", "one network", "network, seeds", "forest", "cleanlab, network", "cleanlab, mixture"],
                [[f"{n}, {r}%", *[average(rows, k) for k in keys]] for (n, r), rows in cells.items() if r]))
    print("\nshare of wrong labels: true, estimated, 95% interval (means over seeds); what was answered")
    lines = []
    for (n, _), rows in cells.items():
        inside = sum(v["low"] - 0.01 <= v["true"] <= v["high"] + 0.01 for v in rows)
        answers = ", ".join(f"{sum(v['answer'] == a for v in rows)} {a}" for a in ("noisy", "clean", "unclear")
                            if any(v["answer"] == a for v in rows))
        lines.append([n, average(rows, "true"), average(rows, "rate"), f"{average(rows, 'low')} to {average(rows, 'high')}",
                      f"{inside}/{len(rows)}", answers, average(rows, "disagreement"), average(rows, "joint_rate"),
                      average(rows, "cleanlab_rate")])
    print(table(["set", "true", "estimate", "interval", "covers", "answer", "disagreement", "joint", "cleanlab"], lines))
    every = [(r, v) for (_, r), rows in cells.items() for v in rows]
    for percent in sorted({r for r, _ in every}):
        mine = [v["answer"] for r, v in every if r == percent]
        print(f"{percent}% flipped: called noisy {mine.count('noisy')}, clean {mine.count('clean')}, unclear "
              f"{mine.count('unclear')} of {len(mine)}")
    missed = []
    print()
    for name in ("phoneme", "mnist"):
        rows = cells.get((name, 10), [])
        reached = mean([v["auroc"] for v in rows]) >= 0.95 if rows else None
        line = f"AUROC at least 0.95 for 10% flipped labels of {name}: {average(rows, 'auroc') if rows else ''}"
        print(verdict(reached, line))
        if reached is False:
            missed.append(line)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json, the tables and mnist")
    parser.add_argument("--sets", type=words, default=list(SETS), metavar="A,B")
    parser.add_argument("--rates", type=numbers, default=[0, 10, 20, 40], metavar="N,N", help="flipped labels in percent")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="seeds of the network that are averaged")
    parser.add_argument("--rows", type=int, default=2000, help="rows of tables longer than 6000")
    parser.add_argument("--out", type=Path, default=RESULTS / "label_noise.json", help="results; finished parts are not repeated")
    arguments = parser.parse_args()
    stored = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    settings = {"repeats": arguments.repeats, "rows": arguments.rows}
    results: dict[str, dict[str, Any]] = stored.get("results", {}) if stored.get("settings") == settings else {}
    warnings.simplefilter("ignore", wf.WellfitWarning)
    with one_thread():
        for seed in range(arguments.seeds):
            for rate in arguments.rates:
                for name in arguments.sets:
                    key = f"{name}/{rate}/{seed}"
                    if key in results:
                        continue
                    results[key] = measure(*load(arguments.data, name, arguments.rows), rate / 100, seed, arguments.repeats)
                    got = results[key]
                    found = f", AUROC {got['auroc']:.3f}" if "auroc" in got else ""
                    print(f"{key}: {got['true']:.3f} estimated {got['rate']:.3f} ({got['low']:.3f} to {got['high']:.3f}) "
                          f"{got['answer']}{found}, {got['seconds']:.1f} s", flush=True)
                    write_json(arguments.out, {"environment": environment(), "settings": settings, "results": results})
    wanted = {k: v for k, v in results.items() if k.split("/")[0] in arguments.sets and int(k.split("/")[1]) in arguments.rates}
    return closed(arguments.out, show(wanted))


if __name__ == "__main__":
    sys.exit(main())

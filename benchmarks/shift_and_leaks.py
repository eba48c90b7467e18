#!/usr/bin/env python3
"""How often the measurements of shift and leakage fire where nothing is wrong, and where something was planted.

On every table of ``DIR/manifest.json`` (and mnist): random splits, which must fire in at most 5 of 100; selection along the first
principal direction and along one feature; copies of training rows in the test part, exact and with noise; and columns that name
groups, of which ``mice_protein`` has one (``mouse``) and no other table has any.

    python benchmarks/shift_and_leaks.py --data DIR --seeds 3
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
from common import RESULTS, closed, environment, one_thread, table, verdict, words, write_json
from scipy.stats import rankdata

import wellfit as wf
from wellfit.data import Preprocessor, load_table, read_frame
from wellfit.diagnosis.measures.hidden_groups import hidden_groups
from wellfit.diagnosis.measures.near_copies import near_copies, standardized
from wellfit.diagnosis.measures.shift import two_sample

REPEAT_THEMSELVES = ("kc1", "concrete", "telco_churn", "cnae_9")


def inputs_of(folder: Path, entry: dict[str, Any], rows: int) -> np.ndarray | None:
    rng = np.random.default_rng(0)
    if entry["name"] == "mnist":
        with gzip.open(folder / "mnist/train-images-idx3-ubyte.gz") as f:
            x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
        return x[rng.choice(len(x), min(rows, 2000), replace=False)].astype(np.float32)
    if entry["kind"] != "tabular":
        return None
    source = load_table(folder / entry["file"], entry["target"], drop=[entry["group_column"]] if entry.get("group_column") else [])
    kept = np.sort(rng.permutation(len(source))[:rows])
    return Preprocessor.fit(source, kept).transform(source.frame.iloc[kept])


def splits(x: np.ndarray, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Row numbers of two parts: random, and with a chance that rises along a direction by three standard deviations."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    scaled, = standardized(x)
    found = {"random": (order[len(x) // 4:], order[:len(x) // 4])}
    principal = scaled @ np.linalg.svd(scaled[rng.permutation(len(x))[:1000]], full_matrices=False)[2][0]
    spread = [c for c in rng.permutation(x.shape[1]) if np.unique(x[:, c], return_counts=True)[1].max() < 0.5 * len(x)]
    feature = spread[0] if spread else int(np.argmax(x.std(axis=0)))
    for name, along in (("principal", principal), ("feature", x[:, feature])):
        rank = rankdata(along) / len(x) - 0.5  # equal values have equal ranks
        chosen = rng.random(len(x)) < 0.5 / (1 + np.exp(-8 * rank))
        found[name] = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    return found


def measure(x: np.ndarray, seed: int) -> dict[str, Any]:
    scaled, = standardized(x)
    result: dict[str, Any] = {"rows": len(x), "columns": x.shape[1]}
    for name, (one, two) in splits(x, seed).items():
        began = time.perf_counter()
        found = two_sample(scaled[one], scaled[two], seed=seed)
        result[f"shift {name}"] = {"found": found.found, "auc": found.auc, "p": found.p, "seconds": time.perf_counter() - began}
    rng = np.random.default_rng(seed)
    one, two = splits(x, seed)["random"]
    for name, noise in (("none", None), ("exact", 0.0), ("noisy", 0.01)):
        other = x[two].copy()
        count = 0 if noise is None else max(2, len(two) // 10)
        if noise is not None:
            other[:count] = x[rng.choice(one, count, replace=False)]
            other[:count] += noise * x.std(axis=0) * rng.normal(size=(count, x.shape[1]))
        began = time.perf_counter()
        copies = near_copies(x[one], other, seed=seed)
        caught = float(np.isin(np.arange(count), copies.rows).mean()) if count else None
        result[f"copies {name}"] = {"found": copies.found, "share": copies.share, "within": copies.within, "caught": caught,
                                    "seconds": time.perf_counter() - began}
    return result


def groups_of(folder: Path, entry: dict[str, Any], rows: int) -> list[dict[str, Any]]:
    frame = read_frame(folder / entry["file"])
    source = load_table(frame, entry["target"])
    kept = np.sort(np.random.default_rng(0).permutation(len(source))[:rows])
    preprocessor = Preprocessor.fit(source, kept)
    sources = [preprocessor.group_names[g] for g in preprocessor.groups]
    found = hidden_groups(frame.drop(columns=[entry["target"]]).iloc[kept].reset_index(drop=True), source.y[kept],
                          preprocessor.transform(source.frame.iloc[kept]), sources, regression=source.task == "regression")
    return [{"column": g.column, "leaks": g.leaks, "sentence": g.sentence()} for g in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", type=words, default=None, metavar="A,B")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000, help="most rows of a table")
    parser.add_argument("--out", type=Path, default=RESULTS / "shift_and_leaks.json")
    arguments = parser.parse_args()
    entries = json.loads((arguments.data / "manifest.json").read_text(encoding="utf-8"))["datasets"]
    warnings.simplefilter("ignore", wf.WellfitWarning)
    results: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[dict[str, Any]]] = {}
    with one_thread():
        for entry in entries:
            name = entry["name"]
            if arguments.sets is not None and name not in arguments.sets:
                continue
            x = inputs_of(arguments.data, entry, arguments.rows)
            if x is None:
                continue
            for seed in range(arguments.seeds):
                results[f"{name}/{seed}"] = measure(x, seed)
            if entry["kind"] == "tabular":
                groups[name] = groups_of(arguments.data, entry, 8000)
            print(name, {k: v["found"] for k, v in results[f"{name}/0"].items() if isinstance(v, dict)},
                  [g["sentence"] for g in groups.get(name, [])], flush=True)
            write_json(arguments.out, {"environment": environment(), "results": results, "groups": groups})
    kinds = [k for k in next(iter(results.values())) if " " in k]
    rates = {k: [v[k]["found"] for v in results.values()] for k in kinds}
    print("\n" + table(["", "fired", "of"], [[k, sum(v), len(v)] for k, v in rates.items()]))
    share = {k: sum(v) / len(v) for k, v in rates.items()}
    named = {n: [g["column"] for g in found if g["leaks"]] for n, found in groups.items()}
    false = {n: c for n, c in named.items() if c and n != "mice_protein"}
    lines = [(share["shift random"] <= 0.05, f"shift fires on at most 5% of random splits: {share['shift random']:.0%}"),
             (min(share["shift principal"], share["shift feature"]) >= 0.9, "shift fires on biased selection: along the principal "
              f"direction {share['shift principal']:.0%}, along a feature {share['shift feature']:.0%}"),
             (share["copies none"] <= 0.05, f"no copies are seen in at least 95% of random splits: {1 - share['copies none']:.0%}"),
             (not false, f"no groups are named where there are none: {false or 'none'}")]
    if "mice_protein" in named:
        lines.append((named["mice_protein"] == ["mouse"], f"mice_protein: named {named['mice_protein']}"))
    for reached, line in lines:
        print(verdict(reached, line))
    print(f"({', '.join(REPEAT_THEMSELVES)} repeat themselves: copies in the test part of these are no more than they have anyway)")
    return closed(arguments.out, [line for reached, line in lines if not reached])


if __name__ == "__main__":
    sys.exit(main())

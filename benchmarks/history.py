#!/usr/bin/env python3
"""How good is a verdict from a training history alone?

The histories are real: ``history_runs.py`` trains the built-in network in many ways and keeps what happened afterwards. The
truth about a history that ends at epoch E is found on test rows that the verdict never sees, by what would have helped:

  overfits          the smoothed test loss rises by at least 5% (and 1% of the loss of guessing) from its lowest epoch to the last,
                    while the training loss does not; for the cause also: a moderate regularizer lowers it as much
  still falling     training on to 4E, stopped by validation loss, lowers it
  rate too low/high another learning rate, all else equal, lowers it by epoch E
  over-regularized  the same run without its regularizer is lower by epoch E
  plateau           a wider network is lower by epoch E
  fits well         none of these lowers it by 10% (and 2% of the loss of guessing)

The cause is the remedy with the largest gain (overfitting from half of the largest gain on). A named cause counts as right in
"remedy works" if its remedy lowers the test loss by those 10% at all. Causes are weighted so that each is as frequent as PRIOR
says, because the grid of runs decides how often each occurs.

Everything is held out by data set: the model that judges a data set was fitted without any run of it. ``--write`` fits the
shipped coefficients on all of them. Seconds per verdict are measured over whole processes, interpreter start included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, closed, cores, environment, table, verdict, write_json

from wellfit.diagnosis.history.curves import curves_of
from wellfit.diagnosis.history.features import NAMES, WITHOUT_TRAIN, shape_of
from wellfit.diagnosis.history.model import LEAVES, apply
from wellfit.diagnosis.history.rules import broken, uncertain
from wellfit.diagnosis.history.series import History
from wellfit.diagnosis.history.smooth import smooth

PRIOR = {"fits_well": 0.25, "overfits": 0.25, "still_falling": 0.12, "rate_too_low": 0.1, "rate_too_high": 0.12, "plateau": 0.08,
         "over_regularized": 0.08}
MODERATE = ("decay", "dropout", "l2")
CAUSE = {"still_falling": "underfits", "rate_too_low": "underfits", "rate_too_high": "underfits", "plateau": "underfits"}
TOO_SMALL = ("wine", "iris")  # fewer than 60 test rows are no truth
SAID = 0.4  # probability from which "overfits" is said: between the base rate and one half
YARDSTICK = 0.91  # F1 of overfit-or-not, arXiv 2401.10359
LARGEST = 1e5
COEFFICIENTS = Path(__file__).resolve().parents[1] / "src" / "wellfit" / "diagnosis" / "history" / "coefficients.json"


def clean(values: Sequence[float | None]) -> np.ndarray:
    """Numbers, with what is not one (or larger) at ``LARGEST``."""
    array = np.array([math.nan if v is None else v for v in values], dtype=float)
    return np.minimum(np.where(np.isfinite(array), array, LARGEST), LARGEST)


class Seen:
    """One run up to an epoch, and what its continuation shows."""

    def __init__(self, run: dict[str, Any], quantity: str, end: int, longer: int):
        self.run, self.width, self.rate, self.recipe = run, run["width"], run["rate"], run["recipe"]
        curves = [clean(run[f"{part}_{quantity}"]) for part in ("train", "validation", "test")]
        self.train, self.validation, self.test = (c[:end] for c in curves)
        self.usable = max(map(np.max, (self.train, self.validation))) < LARGEST
        self.smooth_test, smooth_held = smooth(self.test).values, smooth(self.validation).values
        self.smooth_train = smooth(self.train).values
        self.last = float(self.smooth_test[-1])
        self.stopped = float(self.smooth_test[int(np.argmin(smooth_held))])
        later = slice(0, longer * end)
        self.later = float(smooth(curves[2][later]).values[int(np.argmin(smooth(curves[1][later]).values))])


def gains(case: Seen, family: Sequence[Seen]) -> dict[str, float]:
    """By how much each remedy lowers the test loss; 0 where it does not."""
    def best(found: list[float]) -> float:
        return max([0.0, *(case.last - value for value in found)])

    alike = [q for q in family if q.width == case.width and q.recipe == case.recipe]
    same_recipe = [q for q in family if q.recipe == case.recipe]
    same_rate = [q for q in family if q.width == case.width and q.rate == case.rate]
    lowest = int(np.argmin(case.smooth_test))
    memorized = case.smooth_train[-1] <= 1.02 * case.smooth_train[lowest]
    return {"overfits": case.last - float(case.smooth_test[lowest]) if memorized else 0.0,
            "regularizer": best([q.last for q in same_rate if q.recipe in MODERATE]) if case.recipe == "none" and
            case.last > case.smooth_train[-1] else 0.0,
            "still_falling": best([case.later]), "rate_too_low": best([q.stopped for q in alike if q.rate > case.rate]),
            "rate_too_high": best([q.stopped for q in alike if q.rate < case.rate]),
            "over_regularized": best([q.stopped for q in same_rate if q.recipe == "none"]) if case.recipe != "none" else 0.0,
            "plateau": best([q.stopped for q in same_recipe if q.width > case.width and q.rate == case.rate])}


def truth(found: dict[str, float], last: float, guessing: float) -> tuple[str, bool, list[str]]:
    """(cause, whether it overfits, every cause whose remedy works)."""
    enough = max(0.10 * last, 0.02 * guessing)
    overfits = found["overfits"] >= max(0.05 * last, 0.01 * guessing)
    by_cause = {k: v for k, v in found.items() if k != "regularizer"}
    by_cause["overfits"] = max(found["overfits"], found["regularizer"])
    largest = max(by_cause.values())
    works = [k for k, v in by_cause.items() if v >= enough]
    if not works:
        return "fits_well", overfits, ["fits_well"]
    if by_cause["overfits"] >= max(enough, 0.5 * largest):
        return "overfits", overfits, works
    return max(by_cause, key=lambda k: by_cause[k]), overfits, works


def cases(folder: Path, quantity: str) -> list[dict[str, Any]]:
    """Every history with its features and truth."""
    with ProcessPoolExecutor(cores()) as pool:
        parts = pool.map(cases_of, sorted(folder.glob("*.json")), itertools.repeat(quantity))
        return [case for part in parts for case in part]


def cases_of(path: Path, quantity: str) -> list[dict[str, Any]]:
    """Those of one family of runs."""
    found: list[dict[str, Any]] = []
    runs = json.loads(path.read_text())
    first = runs[0]
    if len(first["test_loss"]) < 2 or first["dataset"] in TOO_SMALL:
        return []
    classes = first["classes"]
    guessing = 1.0 if first["task"] == "regression" else math.log(classes) if quantity == "loss" else 1 - 1 / classes
    full = first["epochs"]
    for end in (full, full // 2, max(8, full // 5)) if quantity == "loss" else (full,):
        family = [Seen(run, quantity, end, 4) for run in runs]
        for case in family:
            if not case.usable:
                continue
            cause, overfits, works = truth(gains(case, family), case.last, guessing)
            shape = shape_of(np.arange(1, end + 1.0), case.train, case.validation, offset=0.0 if quantity == "loss" else 0.01)
            given = History(tuple(np.arange(1, end + 1.0)), tuple(case.train), tuple(case.validation))
            ruled = broken(given)
            rule = ruled.detail if ruled else uncertain(given, curves_of(given))
            found.append({"dataset": first["dataset"], "features": shape.features, "cause": cause, "overfits": overfits,
                          "rule": rule, "works": works, "gain": found_gain(case), "last": case.last, "guessing": guessing,
                          "run": [case.width, case.rate, case.recipe, first["set_up"], first["optimizer"], end]})
    return found


def found_gain(case: Seen) -> float:
    """The relative rise of the test loss after its lowest epoch."""
    return case.last / max(float(case.smooth_test.min()), 1e-12) - 1


def weights_of(found: Sequence[dict[str, Any]]) -> np.ndarray:
    """Weights that make every cause as frequent as PRIOR."""
    counts = Counter(case["cause"] for case in found)
    return np.array([PRIOR[case["cause"]] / counts[case["cause"]] for case in found]) * len(found)


def fitted(found: Sequence[dict[str, Any]], names: Sequence[str], strength: float = 1.0) -> dict[str, Any]:
    """A multinomial logistic model of the causes."""
    from sklearn.linear_model import LogisticRegression

    x = np.array([[case["features"][n] for n in names] for case in found])
    mean, scale = x.mean(0), x.std(0) + 1e-6
    z = np.clip((x - mean) / scale, -4, 4)
    model = LogisticRegression(C=strength, max_iter=3000).fit(z, [case["cause"] for case in found], sample_weight=weights_of(found))
    leaves = list(model.classes_)
    assert set(leaves) == set(LEAVES), leaves
    return {"features": list(names), "mean": mean.round(5).tolist(), "scale": scale.round(5).tolist(), "leaves": leaves,
            "weights": model.coef_.round(4).tolist(), "intercepts": model.intercept_.round(4).tolist()}


def fitted_overfitting(found: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """A logistic model of overfit-or-not."""
    from sklearn.linear_model import LogisticRegression

    x = np.array([[case["features"][n] for n in names] for case in found])
    mean, scale = x.mean(0), x.std(0) + 1e-6
    model = LogisticRegression(max_iter=3000).fit(np.clip((x - mean) / scale, -4, 4), [case["overfits"] for case in found])
    return {"features": list(names), "mean": mean.round(5).tolist(), "scale": scale.round(5).tolist(), "leaves": ["no", "yes"],
            "weights": [[0.0] * len(names), model.coef_[0].round(4).tolist()],
            "intercepts": [0.0, round(float(model.intercept_[0]), 4)]}


def held_out(found: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, float]]:
    """The probabilities of every case from models fitted on the other data sets; "overfitting" is that of overfit-or-not."""
    out: list[dict[str, float]] = [{}] * len(found)
    for dataset in sorted({case["dataset"] for case in found}):
        others = [c for c in found if c["dataset"] != dataset]
        model, binary = fitted(others, names), fitted_overfitting(others, names)
        for i, case in enumerate(found):
            if case["dataset"] == dataset:
                out[i] = {**apply(model, case["features"]), "overfitting": apply(binary, case["features"])["yes"]}
    return out


def scores(found: list[dict[str, Any]], told: list[dict[str, float]]) -> dict[str, Any]:
    """F1, accuracies and calibration of held-out probabilities."""
    weight = weights_of(found)
    said = np.array([p.pop("overfitting") for p in told]) >= SAID
    named = [max(p, key=lambda k: p[k]) for p in told]
    causes = ["by rule" if c["rule"] else _cause(p) for c, p in zip(found, told)]
    true_causes = [CAUSE.get(c["cause"], c["cause"]) for c in found]
    is_so = np.array([c["overfits"] for c in found])
    clear = np.array([c["gain"] >= 0.1 if c["overfits"] else c["gain"] <= 0.025 for c in found])
    sure = np.array([max(_summed(p).values()) for p in told])
    right = np.array([a == b for a, b in zip(causes, true_causes)])
    works = np.array([any(CAUSE.get(w, w) == a for w in c["works"]) for a, c in zip(causes, found)])
    bins = []
    for low in np.arange(0.2, 1.0, 0.1):
        some = (sure >= low) & (sure < low + 0.1 + 1e-9)
        if some.sum() > 20:
            bins.append({"confidence": float(np.average(sure[some], weights=weight[some])),
                         "accuracy": float(np.average(right[some], weights=weight[some])), "count": int(some.sum())})
    error = sum(b["count"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / sum(b["count"] for b in bins)
    confusion = {a: dict(Counter(n for n, c in zip(named, found) if c["cause"] == a)) for a in LEAVES}
    return {"cases": len(found), "datasets": len({c["dataset"] for c in found}), "overfit_share": float(is_so.mean()),
            "overfit_f1": _f1(is_so, said), "overfit_f1_clear": _f1(is_so[clear], said[clear]), "clear_share": float(clear.mean()),
            "cause_accuracy": float(np.average(right, weights=weight)), "remedy_works": float(np.average(works, weights=weight)),
            "leaf_accuracy": float(np.average([a == c["cause"] for a, c in zip(named, found)], weights=weight)),
            "decided_by_rule": dict(Counter(f"{c['rule'][:40]}, truth {c['cause']}" for c in found if c["rule"])),
            "calibration_error": error, "calibration": bins, "confusion": confusion}


def _summed(told: dict[str, float]) -> dict[str, float]:
    out: dict[str, float] = {}
    for leaf, p in told.items():
        out[CAUSE.get(leaf, leaf)] = out.get(CAUSE.get(leaf, leaf), 0.0) + p
    return out


def _cause(told: dict[str, float]) -> str:
    summed = _summed(told)
    return max(summed, key=lambda k: summed[k])


def _f1(true: np.ndarray, said: np.ndarray) -> float:
    both = float((true & said).sum())
    return 2 * both / max(1.0, float(true.sum() + said.sum()))


def seconds(repeats: int = 5) -> dict[str, float]:
    """Whole processes that print a verdict on a csv of 200 epochs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.csv"
        epochs = np.arange(1, 201)
        rows = "".join(f"{e},{0.7 * math.exp(-e / 30):.5f},{0.4 + 0.3 * math.exp(-e / 15) + 0.0005 * e:.5f}\n" for e in epochs)
        path.write_text("epoch,loss,val_loss\n" + rows)
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "wellfit.diagnosis.history", str(path)], check=True, capture_output=True)
            times.append(time.perf_counter() - started)
    return {"median": float(np.median(times)), "max": max(times)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RESULTS / "history_runs", help="what history_runs.py wrote")
    parser.add_argument("--write", action="store_true", help="fit the shipped coefficients on all data sets")
    parser.add_argument("--out", type=Path, default=RESULTS / "history.json")
    options = parser.parse_args()
    result: dict[str, Any] = {"environment": environment(), "prior": PRIOR}
    models: dict[str, Any] = {}
    binary: dict[str, Any] = {}
    rows = []
    for kind, quantity in (("loss", "loss"), ("metric", "error")):
        found = cases(options.runs, quantity)
        print(f"{kind}: {len(found)} histories; causes {dict(Counter(c['cause'] for c in found))}", flush=True)
        for key, names in ((kind, NAMES), (f"{kind} without training", WITHOUT_TRAIN)):
            result[key] = measured = scores(found, held_out(found, names))
            models[key], binary[key] = fitted(found, names), fitted_overfitting(found, names)
            rows.append([key, measured["cases"], measured["datasets"], *(f"{measured[k]:.3f}" for k in (
                "overfit_f1", "overfit_f1_clear", "cause_accuracy", "remedy_works", "leaf_accuracy", "calibration_error"))])
    if options.write:
        COEFFICIENTS.write_text(json.dumps({"format": 1, "prior": PRIOR, "histories": result["loss"]["cases"],
                                            "datasets": result["loss"]["datasets"], "models": models,
                                            "overfitting": binary}) + "\n",
                                encoding="utf-8")
    print(table(["curves", "histories", "data sets", "overfit F1", "F1, clear", "cause", "remedy works", "of 7", "calibration"],
                rows))
    if COEFFICIENTS.exists():
        result["seconds"] = seconds()
        print(verdict(result["seconds"]["max"] <= 2.0, f"seconds of a whole process: median {result['seconds']['median']:.2f}, "
                      f"largest {result['seconds']['max']:.2f} (target 2)"))
    f1 = result["loss"]["overfit_f1"]
    print(verdict(f1 >= YARDSTICK, f"overfit-or-not F1 {f1:.3f} (yardstick {YARDSTICK}, judged there by eye on other histories)"))
    return closed(write_json(options.out, result), [])


if __name__ == "__main__":
    sys.exit(main())

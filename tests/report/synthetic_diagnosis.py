"""Diagnoses made up for the report's tests: every part the page knows, nasty names and broken shapes on request.

Also a script: ``python tests/report/synthetic_diagnosis.py DIR`` writes some under DIR, with their pages.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from report.synthetic_run import NASTY

PARTS = ("measurements", "prescriptions", "tried", "curves", "learning_curve", "bias_variance", "label_noise", "calibration",
         "landscape", "leaks", "shift", "learning_rates", "capacity", "cost")


def diagnosis(*, regression: bool = False, cause: str = "overfits", title: str = "Overfits (variance)") -> dict[str, Any]:
    """A whole diagnosis."""
    rng = random.Random(3)
    epochs = list(range(1, 81))
    train = [0.68 * math.exp(-e / 18) + 0.01 + rng.gauss(0, 0.004) for e in epochs]
    held = [0.42 + 0.26 * math.exp(-e / 9) + 0.0022 * max(0, e - 22) + rng.gauss(0, 0.008) for e in epochs]
    unit = "" if regression else "points"
    sizes = [60, 120, 240, 480, 960]
    errors = [0.09 + 1.9 * n**-0.55 for n in sizes]
    forecast = [60, 120, 240, 480, 960, 1920, 3840]
    widths = [4, 8, 16, 32, 64, 128, 256]
    score = (lambda v: 12 - 9 * v) if regression else (lambda v: v)
    return {
        "format": 1, "kind": "diagnosis", "dataset": "phoneme", "task": "regression" if regression else "binary",
        "metric": "rmse" if regression else "balanced_accuracy", "higher_is_better": not regression,
        "verdict": {"cause": cause, "title": title, "confidence": 0.86,
                    "because": "Training rows score 12.4 points better than held-out rows, validation loss rises after epoch 23, "
                               "and weight decay wins back 4.1 points.",
                    "probabilities": {cause: 0.86, "too_little_data": 0.08, "label_noise": 0.04, "underfits": 0.015,
                                      "fits_well": 0.005, "leakage": 0.0},
                    "others": [{"cause": "too_little_data", "score": 0.08, "because": "twice the data would gain 0.9 points, less "
                                "than the regularizer"}, {"cause": "label_noise", "score": 0.04,
                                                          "because": "2.1% of the labels are suspect"}]},
        "measurements": [
            {"id": "gap", "title": "Generalization gap", "value": 0.124, "ci": [0.098, 0.151], "unit": unit, "level": "alarm",
             "words": "Training rows score 12.4 points better than rows the network has not seen.", "decided": True},
            {"id": "twice_the_data", "title": "Gain from twice the data", "value": 0.009, "ci": [-0.002, 0.021], "unit": unit,
             "level": "notice", "words": "Twice the rows would gain 0.9 points, and it may be nothing.", "decided": False},
            {"id": "variance", "title": "Variance", "value": 0.21, "ci": [0.18, 0.25], "unit": "nats", "level": "alarm",
             "words": "Most of the error changes with the rows drawn.", "decided": False},
            {"id": "label_noise", "title": "Label noise", "value": 0.021, "ci": [0.008, 0.034], "unit": "share", "level": "good",
             "words": "About 2% of the labels look wrong.", "decided": False},
            {"id": "shift_auc", "title": "Shift", "value": 0.51, "ci": [0.47, 0.55], "unit": "", "level": "good",
             "words": "Training and validation rows cannot be told apart.", "decided": False}],
        "prescriptions": [
            {"title": "weight decay", "settings": {"weight_decay": {"timescale": 12.5}},
             "recipe": {"format": 1, "regularizers": [{"name": "weight_decay", "timescale": 12.5}]}, "learning_rate": 0.001,
             "why": "The gap is wide and the network is large.",
             "gain": {"value": 0.041, "ci": [0.021, 0.06], "how": "measured", "unit": "share"},
             "evidence": "Loshchilov and Hutter 2019"},
            {"title": "dropout", "settings": {"dropout": {"rate": 0.3}}, "why": "It lowers variance of wide layers.",
             "gain": {"value": 1.3, "ci": [0.7, 1.8], "how": "expected", "unit": "points"}, "evidence": "41 similar tables"},
            {"title": "early stopping", "settings": {"early_stopping": {"patience": 10}}, "why": "Validation loss is lowest late.",
             "gain": {"value": 0.018, "ci": None, "how": "measured", "unit": "share"}, "evidence": ""}],
        "tried": {"before": score(0.842), "after": score(0.881), "gain": 0.039, "ci": [0.02, 0.058], "held": True,
                  "words": "Tried (weight decay): it helped."},
        "curves": {"epoch": epochs, "train_loss": train, "validation_loss": held,
                   "train_metric": [score(1 - 0.3 * t) for t in train], "validation_metric": [score(1 - 0.4 * v) for v in held]},
        "learning_curve": {"sizes": sizes, "error": errors, "low": [e - 0.01 for e in errors], "high": [e + 0.012 for e in errors],
                           "fit": {"n": forecast, "error": [0.09 + 1.9 * n**-0.55 for n in forecast],
                                   "low": [0.08 + 1.85 * n**-0.55 for n in forecast],
                                   "high": [0.1 + 1.95 * n**-0.54 for n in forecast]},
                           "regularized": [e - 0.025 for e in errors]},
        "bias_variance": {"bias": 0.13, "variance": 0.21,
                          "by_capacity": [{"width": w, "bias": 0.1 + 0.6 / w, "variance": 0.02 * math.log2(w),
                                           "error": 0.1 + 0.6 / w + 0.02 * math.log2(w)} for w in widths]},
        "label_noise": {"rate": 0.021, "ci": [0.008, 0.034],
                        "suspects": [{"row": 12 * i, "given": "nasal", "suggested": "oral", "score": 0.01 + 0.003 * i}
                                     for i in range(30)]},
        "calibration": {"bins": [{"confidence": c / 10 + 0.05, "accuracy": min(1.0, 0.32 + 0.062 * c), "count": 20 + 14 * c}
                                 for c in range(5, 10)], "ece": 0.067},
        "landscape": {"line": {"alpha": [i / 10 for i in range(-10, 11)], "loss": [0.2 + (i / 10) ** 2 for i in range(-10, 11)]},
                      "plane": {"x": [i / 5 for i in range(-5, 6)], "y": [i / 5 for i in range(-5, 6)],
                                "loss": [[0.01 + 0.12 * i**2 + 0.36 * j**2 for i in range(-5, 6)] for j in range(-5, 6)]}},
        "leaks": [{"kind": "duplicates", "what": "18 validation rows are also training rows", "measured": "18 of 500"},
                  {"kind": "group", "what": "column mouse is on both sides of the split", "measured": {"auc": 0.97, "drop": 0.21}}],
        "shift": {"auc": 0.51, "ci": [0.47, 0.55], "features": [{"name": f"V{i}", "statistic": 0.2 / (i + 1)} for i in range(5)]},
        "learning_rates": [{"rate": 10.0**-i, "train": score(0.9 - 0.03 * (i - 3) ** 2),
                            "validation": score(0.85 - 0.02 * (i - 3) ** 2)}
                           for i in range(1, 6)],
        "capacity": [{"width": w, "train": score(0.99 - 0.4 / w),
                      "validation": score(0.86 - 0.4 / w - 0.0002 * w)} for w in widths],
        "cost": {"seconds": 51.2, "trainings": 74}, "command": "wellfit diagnose phoneme.csv --target class",
        "versions": {"wellfit": "0.1.0", "torch": "2.13"}, "warnings": []}


def nasty() -> dict[str, Any]:
    """A whole diagnosis with the worst names, missing numbers and texts that try to be markup."""
    made = diagnosis()
    made["dataset"] = made["verdict"]["title"] = made["verdict"]["because"] = NASTY[1]
    made["verdict"]["probabilities"] = {name: 1 / len(NASTY) for name in NASTY}
    for part, key in (("measurements", "title"), ("measurements", "words"), ("prescriptions", "title"),
                      ("prescriptions", "why"), ("prescriptions", "evidence"), ("leaks", "what"), ("leaks", "kind")):
        for i, row in enumerate(made[part]):
            row[key] = NASTY[(i + len(key)) % len(NASTY)] or "x"
    for i, row in enumerate(made["label_noise"]["suspects"]):
        row.update(given=NASTY[i % len(NASTY)], suggested=NASTY[(i + 1) % len(NASTY)])
    for i, row in enumerate(made["shift"]["features"]):
        row["name"] = NASTY[(i * 2) % len(NASTY)]
    made["curves"]["train_loss"][10:14] = [None, float("nan"), float("inf"), "x"]
    made["learning_curve"]["low"][2] = None
    made["landscape"]["plane"]["loss"][0][0] = None
    made["capacity"][1]["train"] = None
    made["prescriptions"][0]["settings"] = {NASTY[0]: NASTY[2], "a": {"b": [1, None]}}
    made["command"] = ["wellfit", NASTY[3]]
    made["warnings"] = [NASTY[1]]
    return made


def history_only() -> dict[str, Any]:
    """What a verdict on curves alone gives."""
    made = diagnosis()
    kept = ("format", "kind", "dataset", "verdict", "curves")
    return {**{k: made[k] for k in kept}, "measurements": made["measurements"][:1],
            "prescriptions": [{"title": "early stopping", "settings": {"early_stopping": {"patience": 10}},
                               "why": "Stop near epoch 23."}]}


KINDS = {"whole": diagnosis, "regression": lambda: diagnosis(regression=True), "nasty": nasty, "history": history_only,
         "empty": lambda: {"format": 1, "kind": "diagnosis"}}


def write(folder: Path, content: dict[str, Any]) -> Path:
    """A directory with ``diagnosis.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "diagnosis.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


if __name__ == "__main__":
    from wellfit.report import write_report

    for kind, make in KINDS.items():
        print(write_report(write(Path(sys.argv[1]) / kind, make())))

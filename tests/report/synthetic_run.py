"""Run directories made up for the report's tests: no training, every artefact, nasty names on request.

Also a script: ``python tests/report/synthetic_run.py DIR`` writes one of each kind under DIR, with its report.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

NASTY = ["<b>age</b>", "</script><script>alert(1)</script>", "größe & “zitat” 身長 🦉", '"onmouseover="x',
         "image", "title", "a_column_name_that_goes_on_and_on_" * 4, "datum['x'].y\\z\nnew line", "", "{{7*7}} ${x} %s"]
PRETTY = ["mean radius", "mean texture", "mean perimeter", "mean area", "mean smoothness", "mean compactness",
          "mean concavity", "concave points", "mean symmetry", "fractal dimension"]
METHODS = ["dropout", "weight_decay", "l1", "mixup", "label_smoothing", "max_norm", "batch_norm", "ema",
           "early_stopping", "input_noise"]
RECIPE: dict[str, Any] = {
    "format": 1,
    "regularizers": [{"name": "batch_norm"}, {"name": "dropout", "rate": 0.31},
                     {"name": "weight_decay", "timescale": 40.0}, {"name": "l1", "strength": 1e-05},
                     {"name": "max_norm", "radius": 3.2},
                     {"name": "mixup", "alpha": {"schedule": "cosine", "start": 0.3, "end": 0.0}},
                     {"name": "ema", "half_life": 2.5}, {"name": "early_stopping", "patience": 20}],
    "learning_rate": 0.0012}
SETTINGS = {"dropout": ("rate", 0.02, 0.8, False), "weight_decay": ("timescale", 2.0, 2000.0, True),
            "l1": ("strength", 1e-7, 1e-2, True), "mixup": ("alpha", 0.05, 2.0, False),
            "label_smoothing": ("amount", 0.01, 0.3, False), "max_norm": ("radius", 0.5, 20.0, False),
            "input_noise": ("scale", 0.01, 1.0, False), "ema": ("half_life", 0.2, 20.0, False)}


def dump(path: Path, value: object) -> None:
    """One JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def names_for(nasty: bool) -> list[str]:
    """Column names."""
    return NASTY if nasty else PRETTY


def trials(rng: random.Random, regression: bool, many: int = 160) -> list[dict[str, Any]]:
    """A search that slowly gets better, some configurations pruned, a few disastrous."""
    base, gain = (3.9, -0.75) if regression else (0.842, 0.052)
    rows = []
    for number in range(many):
        alone = METHODS[number % len(METHODS)]
        single = 1 <= number <= 40
        methods = [] if number == 0 else [alone] if single else rng.sample(METHODS, rng.randint(2, 6))
        recipe: dict[str, Any] = {"format": 1, "regularizers": []}
        merit = 0.0
        for name in methods:
            entry: dict[str, Any] = {"name": name}
            if name in SETTINGS:
                key, low, high, log = SETTINGS[name]
                place = min(1.0, max(0.0, rng.gauss(0.4, 0.3)))
                entry[key] = math.exp(math.log(low) + place * math.log(high / low)) if log else \
                    low + place * (high - low)
                merit += 0.28 - 1.4 * (place - 0.38) ** 2
            recipe["regularizers"].append(entry)
        score = base + gain * min(1.0, merit) + rng.gauss(0, abs(gain) * 0.13)
        if number % 41 == 17:
            score = base - 6 * gain
        pruned = number > 40 and score < base if not regression else number > 40 and score > base
        rows.append({"number": number, "recipe": recipe, "learning_rate": 10 ** rng.uniform(-4, -1.5),
                     "validation": score, "standard_error": 0.006, "epochs": 12 if pruned else 60, "pruned": pruned,
                     "origin": "unregularized" if number == 0 else f"single:{alone}" if single else "search",
                     "seconds": 0.4})
    return rows


def curves(rng: random.Random, regression: bool, length: int = 120) -> dict[str, Any]:
    """Loss and metric by epoch: one network that overfits, one that does not."""
    epochs = list(range(1, length + 1))
    parts = {}
    for who, (floor, rise, gap) in {"unregularized": (0.02, 0.0062, 0.02), "best": (0.22, 0.0001, 0.05)}.items():
        train = [floor + 0.75 * math.exp(-e / (14 if rise > 0.001 else 22)) + rng.gauss(0, 0.004) for e in epochs]
        held = [t + gap + 0.26 * (1 - math.exp(-e / 30)) * (1.2 if rise > 0.001 else 0.22) + rise * max(0, e - 25)
                + rng.gauss(0, 0.012) for t, e in zip(train, epochs, strict=True)]
        if regression:
            metric_train, metric_held = [4 * math.sqrt(t) + 1 for t in train], [4 * math.sqrt(v) + 1 for v in held]
        else:
            metric_train = [min(1.0, 1 - 0.33 * t) for t in train]
            metric_held = [1 - 0.14 - 0.05 * v if rise > 0.001 else 1 - 0.05 - 0.2 * v for v in held]
        parts[who] = {"epoch": epochs, "train_loss": train, "validation_loss": held, "train_metric": metric_train,
                      "validation_metric": metric_held}
    return parts


def weights(rng: random.Random, inputs: int) -> dict[str, Any]:
    """Histograms with the same edges, and zeros by layer."""
    edges = [-0.6 + 0.02 * i for i in range(61)]
    shapes = [("0.weight", [256, inputs]), ("3.weight", [256, 256]), ("6.weight", [2, 256])]
    parts = {}
    for who, width, shares in (("unregularized", 0.14, (0.0, 0.0, 0.0)), ("best", 0.045, (0.62, 0.71, 0.05))):
        layers = [{"name": name, "shape": shape, "zeros": round(s * shape[0] * shape[1]), "total": shape[0] * shape[1]}
                  for (name, shape), s in zip(shapes, shares, strict=True)]
        total, zeros = sum(x["total"] for x in layers), sum(x["zeros"] for x in layers)  # type: ignore[misc]
        middles = [(a + b) / 2 for a, b in zip(edges, edges[1:], strict=False)]
        bell = [math.exp(-abs(m / width) ** 1.5) for m in middles]
        counts = [round((total - zeros) * b / sum(bell) * rng.uniform(0.93, 1.07)) for b in bell]
        parts[who] = {"edges": edges, "counts": counts, "zeros": zeros, "total": total, "layers": layers}
    return parts


def boundary(rng: random.Random, names: list[str], classes: list[str], regression: bool, m: int = 48) -> dict[str, Any]:
    """A ragged map and a smooth one over two inputs, with rows."""
    xs = [-2.5 + 5 * i / (m - 1) for i in range(m)]
    ys = [-2.0 + 4 * i / (m - 1) for i in range(m)]

    def smooth(x: float, y: float) -> float:
        return y - 0.9 * math.sin(1.3 * x)

    def ragged(x: float, y: float) -> float:
        return smooth(x, y) + 0.55 * math.sin(5.5 * x) * math.cos(4.5 * y) + 0.3 * math.sin(9 * x + 3 * y)

    def index(value: float) -> int:
        return min(len(classes) - 1, max(0, int(len(classes) / 2 + value * (1 if len(classes) == 2 else 0.9))))

    points = []
    for _ in range(140):
        x, y = rng.uniform(-2.4, 2.4), rng.uniform(-1.9, 1.9)
        value = smooth(x, y) + rng.gauss(0, 0.45)
        points.append({"x": x, "y": y, "label": f"{value:.2f}" if regression else
                       classes[(value > 0) if len(classes) == 2 else index(value)]})
    part: dict[str, Any] = {"x": {"name": names[0], "values": xs}, "y": {"name": names[1], "values": ys},
                            "classes": [] if regression else classes, "points": points,
                            "kind": "regression" if regression else "classification"}
    if not regression:
        part["confidence"] = {}
    for who, f in (("unregularized", ragged), ("best", smooth)):
        values = [[f(x, y) for x in xs] for y in ys]
        part[who] = values if regression else [[int(v > 0) if len(classes) == 2 else index(v) for v in row]
                                               for row in values]
        if not regression:
            steep = 6.0 if who == "unregularized" else 1.5
            part["confidence"][who] = [[1 / (1 + math.exp(-steep * abs(v))) for v in row] for row in values]
    return part


def response(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Response curves from the trials."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        entries = row["recipe"]["regularizers"]
        for entry in entries:
            for key, value in entry.items():
                if key != "name":
                    found.setdefault(f"{entry['name']}.{key}", []).append(
                        {"value": value, "validation": row["validation"], "alone": len(entries) == 1})
        found.setdefault("learning_rate", []).append({"value": row["learning_rate"], "validation": row["validation"],
                                                      "alone": False})
    return found


def summary(rng: random.Random, regression: bool, nasty: bool, classes: list[str], parts: int) -> dict[str, Any]:
    """The summary with all its parts."""
    sign = -1 if regression else 1

    def around(test: float, half: float) -> dict[str, Any]:
        return {"validation": test + sign * half * 0.4, "test": test, "ci": [test - half, test + half]}

    base, best, half = (3.92, 3.21, 0.34) if regression else (0.8417, 0.8934, 0.021)
    singles = {}
    for name in METHODS:
        gain = (0.55 if regression else 0.034) * rng.uniform(-0.25, 1)
        singles[name] = {**around(base + sign * gain, half),
                         "gain": {"test": gain, "ci": [gain - half / 2, gain + half / 2]}}
    if nasty:
        singles["<i>custom</i>"] = {"validation": None, "test": base, "ci": None, "gain": None}
        singles["never tested"] = {"validation": base, "test": None}
    used = [(e["name"], " ".join(f"{k}={v}" for k, v in e.items() if k != "name" and not isinstance(v, dict)))
            for e in RECIPE["regularizers"]]
    attribution = []
    for i in range(parts):
        name, value = used[i % len(used)] if i < len(used) else (f"method_{i}", f"strength={0.01 * i:g}")
        effect = (0.3 if regression else 0.022) * rng.uniform(-0.3, 1) ** 3
        attribution.append({"regularizer": name, "effect": effect, "keep": effect > 0, "value": value,
                            "ci": None if nasty and i % 7 == 3 else [effect - half / 4, effect + half / 4]})
    gain = sign * (best - base)
    return {
        "format": 1, "task": "regression" if regression else "binary" if len(classes) == 2 else "multiclass",
        "metric": "rmse" if regression else "balanced_accuracy", "higher_is_better": not regression,
        "n": {"train": 341, "validation": 114, "test": 114}, "dataset": "<img src=x onerror=alert(1)>" if nasty
        else "breast cancer", "target": "<b>target</b> & co" if nasty else "diagnosis", "class_weights": "balanced",
        "unregularized": {**around(base, half), "train": 1.1 if regression else 0.998},
        "singles": singles,
        "best": {**around(best, half * 0.85), "train": 2.7 if regression else 0.927, "recipe": RECIPE},
        "simplest_within_one_se": {"recipe": {"format": 1, "regularizers": RECIPE["regularizers"][1:3]},
                                   "test": best - sign * half * 0.3},
        "ensemble": {"members": 5, "test": best + sign * half * 0.2},
        "gain": {"test": gain, "ci": [gain - half * 0.7, gain + half * 0.75]}, "attribution": attribution,
        "baselines": {"ridge_or_logistic": base - sign * half, "gradient_boosting": best - sign * half * 0.1,
                      **({"k < neighbours": base - sign * half * 60} if nasty else {})},
        "verdict": {"kind": "overfits", "gap": 2.8 if regression else 0.156, "ci": [2.1, 3.4] if regression
                    else [0.131, 0.182],
                    "text": "Training rows are predicted almost perfectly while held-out rows are not: the network "
                            "remembers what it should generalize."},
        "selection": {"mode": "cross-validation", "folds": 5, "seeds": 3},
        "optimism": {"validation": best + sign * half * 0.7, "test": best, "optimism": half * 0.7},
        "network": {"hidden": [256, 256], "activation": "relu", "parameters": 74242},
        "warnings": ["Column <script>x</script> has one value only & was dropped."] if nasty else [],
        "cost": {"seconds": 131.4, "configurations": 160, "epochs": 9600, "member_steps": 105600}}


def run_info(names: list[str], classes: list[str], nasty: bool) -> dict[str, Any]:
    """run.json."""
    reason = "floats with a point <&>" if nasty else "numbers with many values"
    columns = [{"name": name, "kind": "number" if i % 3 else "category", "reason": reason, "missing": 7 * i,
                "unique": 400 - 9 * i} for i, name in enumerate(names)]
    return {"command": "wellfit tune data.csv --target diagnosis --budget 2m --out RUN",
            "versions": {"wellfit": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}, "seed": 0,
            "created": "2026-11-21T01:20:00+00:00",
            "data": {"name": "data.csv", "rows": 569, "columns": columns, "classes": classes, "sha256": "9f86d081" * 8,
                     "notes": [{"level": "warning", "code": "duplicates",
                                "message": "12 rows <em>appear</em> twice; they were kept on one side of the split."},
                               {"level": "info", "code": "scaled", "message": "Numbers were standardized on the "
                                "training rows only."}]},
            "split": {"train": 341, "validation": 114, "test": 114}, "device": "cpu", "engine": "native",
            "budget": "2m"}


def write_run(path: Path, *, regression: bool = False, nasty: bool = False, classes: int = 2, parts: int = 8,
              many: int = 160, cells: int = 48, epochs: int = 120) -> Path:
    """A complete run directory.

    Args:
        path: where to write it.
        regression: a regression on RMSE instead of a classification.
        nasty: names with markup, quotes, line breaks, emoji and great length; some intervals null.
        classes: how many classes.
        parts: how many rows the attribution has.
        many: how many trials.
        cells: how many cells the boundary has along each axis.
        epochs: how long the curves are.
    """
    rng = random.Random(7)
    names = names_for(nasty)
    labels = [] if regression else (["benign", "malignant"] if classes == 2 and not nasty else
                                    [f"class {i} <&> '\"" if nasty else f"class {i}" for i in range(classes)])
    rows = trials(rng, regression, many)
    dump(path / "summary.json", summary(rng, regression, nasty, labels, parts))
    dump(path / "run.json", run_info(names, labels, nasty))
    (path / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    norms = [{"name": name, "norm": 0.0 if i % 3 == 2 else 2.4 / (i + 1)} for i, name in enumerate(names)]
    dump(path / "evidence.json", {
        "format": 1, "curves": curves(rng, regression, epochs), "weights": weights(rng, len(names)),
        "features": {"total": len(names), "used": sum(r["norm"] != 0 for r in norms), "norms": norms},
        "boundary": boundary(rng, names, labels, regression, cells), "response": response(rows)})
    recipe = "format: 1\nregularizers:\n" + "".join(
        f"  - name: {e['name']}\n" + "".join(f"    {k}: {v}\n" for k, v in e.items() if k != "name" and
                                            not isinstance(v, dict)) for e in RECIPE["regularizers"])
    (path / "best").mkdir(exist_ok=True)
    (path / "best" / "recipe.yaml").write_text(recipe + f"learning_rate: {RECIPE['learning_rate']}\n", encoding="utf-8")
    return path


def write_minimal(path: Path) -> Path:
    """Only a summary with little in it, and run.json: a search stopped right after the first result."""
    dump(path / "summary.json", {"format": 1, "task": "binary", "metric": "balanced_accuracy", "higher_is_better": True,
                                 "n": {"train": 100, "validation": 30, "test": 30},
                                 "unregularized": {"validation": 0.8, "test": 0.79, "ci": [0.7, 0.87], "train": 1.0},
                                 "singles": {}, "best": None, "gain": None, "attribution": None, "ensemble": None})
    dump(path / "run.json", {"command": "wellfit tune x.csv", "versions": {}, "seed": 1, "data": None})
    return path


if __name__ == "__main__":
    from wellfit.report import write_report

    folder = Path(sys.argv[1])
    for made in (write_run(folder / "classification"), write_run(folder / "regression", regression=True),
                 write_run(folder / "nasty", nasty=True, classes=9, parts=40), write_minimal(folder / "minimal")):
        print(write_report(made))

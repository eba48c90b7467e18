#!/usr/bin/env python3
"""Does the interval for twice the data cover what twice the data brings?

For every table of DIR/manifest.json, and those that scikit-learn brings, unregularized networks are trained on m/8, m/4, m/2 and m
rows, three times each; ``learning_curve`` forecasts the error of networks trained on 2m rows, which are then trained. m is half
and a quarter of the development rows (at most 8000), with two splits each. Everything is judged on the same test rows.

Judged: whether the interval holds the measured error; its width beside the gain that came; the error of the forecast beside that
of two naive ones: no change, and a straight line through the logarithms. The prior of the method is chosen among a few by the
interval score (Gneiting and Raftery 2007) on all other tables, so that no table is judged by settings that have seen it.
Tables are judged by their own metric, balanced accuracy or RMSE; the log loss is shown beside it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, closed, environment, mean, numbers, one_thread, read_json, table, verdict, words, write_json
from forecast_curves import curves

from wellfit.diagnosis.measures.learning_curve import Prior, learning_curve
from wellfit.population.pool import Pool

OWN, BESIDE = ("balanced_accuracy", "rmse"), ("log_loss",)
PRIORS = {f"shared {s:g}, misfit {m:g}, steadiness {t:g}": Prior(shared=s, misfit=m, steadiness=t)
          for s, m, t in itertools.product((0.0, 0.3, 0.6), (0.01, 0.02, 0.04), (0.4, 0.6))}
COVERAGE, CHECKS = (0.85, 0.97), 60
SHOWN = ("coverage", "gain_coverage", "above", "below", "width", "gain")


def forecast(curve: dict[str, Any], prior: Prior) -> dict[str, float]:
    """What came of one curve under one prior."""
    errors, truth = np.array(curve["errors"]), float(np.mean(curve["truth"]))
    resolution = 0.5 / curve["rows_judged"] if "accuracy" in curve["metric"] else 1e-4 * curve["unit"]
    found = learning_curve(curve["sizes"], errors, resolution=resolution, prior=prior)
    last = float(found.errors[-1])
    low, high = found.error.low, found.error.high
    slope, at = np.polyfit(np.log(found.sizes), np.log(found.errors), 1)
    line = float(np.exp(at + slope * np.log(2 * found.sizes[-1])))
    score = high - low + 2 / 0.05 * max(low - truth, truth - high, 0.0)
    gained = float(errors[-1].mean()) - truth
    return {"covered": float(low <= truth <= high), "gain_covered": float(found.gain.low <= gained <= found.gain.high),
            "above": float(truth > high), "below": float(truth < low), "width": (high - low) / last, "score": score / last,
            "gain": (last - truth) / last, "promised": found.gain.value / last, "says_helps": float(found.gain.low > 0),
            "error": abs(found.error.value - truth) / last, "no_change": abs(last - truth) / last, "line": abs(line - truth) / last}


def left_out(every: list[dict[str, Any]]) -> dict[str, str]:
    """The prior for each table, by the mean log interval score of the checks of all other tables."""
    names = sorted({c["table"] for c in every})
    scores = {p: {n: [np.log(c["priors"][p]["score"]) for c in every if c["table"] == n] for n in names} for p in PRIORS}
    return {n: min(PRIORS, key=lambda p: mean([mean(v) for m, v in scores[p].items() if m != n])) for n in names}


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    def average(key: str) -> float:
        return mean([r[key] for r in rows])

    return {"checks": len(rows), "coverage": average("covered"), "gain_coverage": average("gain_covered"),
            "above": average("above"), "below": average("below"), "width": float(np.median([r["width"] for r in rows])),
            "gain": float(np.median([r["gain"] for r in rows])),
            "width_to_gain": float(np.median([r["width"] for r in rows]) / np.median([abs(r["gain"]) for r in rows])),
            "to_no_change": average("error") / average("no_change"), "to_line": average("error") / average("line"),
            "says_helps": average("says_helps"), "helps": mean([float(r["gain"] > 0) for r in rows]),
            "helps_when_said": mean([float(r["gain"] > 0) for r in rows if r["says_helps"]])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--only", type=words, help="tables, such as phoneme,car")
    parser.add_argument("--seeds", type=numbers, default=[0, 1])
    parser.add_argument("--curves", type=Path, default=RESULTS / "forecast_curves.json", help="trained curves, gone on with")
    parser.add_argument("--out", type=Path, default=RESULTS / "forecast.json")
    arguments = parser.parse_args()
    kept: list[dict[str, Any]] = read_json(arguments.curves) if arguments.curves.is_file() else []
    began = time.perf_counter()
    with one_thread(), Pool(1) as pool:
        before: tuple[str, int] | None = None
        waiting: list[dict[str, Any]] = []
        for curve in curves(arguments.data, arguments.only, arguments.seeds, pool, {(c["table"], c["seed"]) for c in kept}):
            if before not in (None, (curve["table"], curve["seed"])):  # a table is kept when it is complete
                write_json(arguments.curves, kept := [*kept, *waiting])
                print(f"{before[0]}, seed {before[1]}: {len(waiting)} curves, {waiting[-1]['seconds']:.0f} s", flush=True)  # type: ignore[index]
                waiting = []
            before = (curve["table"], curve["seed"])
            waiting.append(curve)
        if waiting:
            write_json(arguments.curves, kept := [*kept, *waiting])
    seconds = time.perf_counter() - began
    kept = [c for c in kept if (not arguments.only or c["table"] in arguments.only) and c["seed"] in arguments.seeds]
    groups = {"own metric": [c for c in kept if c["metric"] in OWN], "log loss": [c for c in kept if c["metric"] in BESIDE]}
    found: dict[str, Any] = {}
    fitting = time.perf_counter()
    for every in groups.values():
        for c in every:
            c["priors"] = {name: forecast(c, prior) for name, prior in PRIORS.items()}
            c["default"] = forecast(c, Prior())
    each = (time.perf_counter() - fitting) / max(1, sum(len(e) for e in groups.values()) * (len(PRIORS) + 1))
    lines = []
    for name, every in groups.items():
        if len({c["table"] for c in every}) < 2:
            continue
        chosen = left_out(every)
        results = {"left out": [c["priors"][chosen[c["table"]]] for c in every], "default": [c["default"] for c in every]}
        for how, rows in results.items():
            s = summary(rows)
            found[f"{name}, {how}"] = s
            lines.append([f"{name}, {how}", s["checks"], *(f"{100 * s[k]:.1f}" for k in SHOWN),
                          *(f"{s[k]:.2f}" for k in ("to_no_change", "to_line")),
                          f"{100 * s['says_helps']:.0f}", f"{100 * s['helps_when_said']:.0f}"])
        found[f"{name}, chosen"] = {p: sum(v == p for v in chosen.values()) for p in sorted(set(chosen.values()))}
    print("\nForecast of the error at twice the rows; widths and gains in percent of the error measured last (median)\n")
    print(table(["prior", "checks", "cover", "gain cover", "above", "below", "width", "gain", "err/no change", "err/line",
                 "says helps", "and it does"], lines))
    print(f"\n{1000 * each:.0f} ms a fit; curves trained in this call: {seconds:.0f} s")
    own = found.get("own metric, left out", {"checks": 0, "coverage": float("nan")})
    reached = None if own["checks"] < CHECKS else COVERAGE[0] <= own["coverage"] <= COVERAGE[1]
    print(verdict(reached, f"coverage between 85 and 97% over {CHECKS} checks or more, prior from other tables: "
                           f"{100 * own['coverage']:.1f}% of {own['checks']}"))
    checks = [{k: v for k, v in c.items() if k != "priors"} for every in groups.values() for c in every]
    path = write_json(arguments.out, {"benchmark": "forecast", "environment": environment(), "summary": found,
                                      "seconds_training": seconds, "seconds_fit": each, "checks": checks})
    return closed(path, [])


if __name__ == "__main__":
    sys.exit(main())

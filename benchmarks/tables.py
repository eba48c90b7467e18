#!/usr/bin/env python3
"""wellfit on real tables, beside the usual alternatives, on the same test rows.

For every table of DIR/manifest.json, ``wf.tune`` is run once with the budget. Its summary gives the unregularized network,
the best single regularizer (chosen by validation), the tuned recipe and the tuned ensemble. The others are trained on the
same development rows (training and validation rows of the run) and judged on the same test rows:

  sklearn mlp       MLPClassifier / MLPRegressor with their defaults, on the very inputs of the run's networks; regression
                    targets standardised
  sklearn mlp, own  the same as a scikit-learn pipeline would have it: numbers scaled, categories one-hot, targets as they are
  sklearn mlp, bal  (classes) sklearn mlp with balanced sample weights; on scikit-learn before 1.7, which has none: with the
                    rows resampled to equal class frequencies
  linear            numbers scaled, categories one-hot; logistic regression with balanced class weights, C by
                    cross-validation; ridge for regression
  xgboost           its defaults, on numbers (missing left missing) and one-hot categories
  xgboost, bal      the same with balanced sample weights (for regression: the same model)

and, where ``--also`` names them, others that take the budget and the threads of the tune run themselves:

  xgboost, tuned    Optuna's TPE over the usual ranges, balanced sample weights, judged on the run's own folds
  realmlp           RealMLP-TD of pytabkit (a fifth of its rows to stop on), refitted on all; no label smoothing, classes chosen by
                    probability over prior, which is how it is balanced
  realmlp, bagged   five of them, each with another fifth, averaged

Metric: balanced accuracy, or RMSE. Everything is kept per table and per method: run the same command again after an
interruption and it goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from alternatives import ALSO, BASELINES, FAMILIES, Rows, judged
from common import RESULTS, closed, cores, environment, mean, numbers, read_json, table, verdict, words, write_json

import wellfit as wf

EXAMPLES = """examples:
  python benchmarks/tables.py --data DIR --budget 3m
  python benchmarks/tables.py --data DIR --budget 1m --only credit_g,concrete --skip xgboost
  python benchmarks/tables.py --data DIR --budget 3m --seeds 0,1,2     three splits and searches of every table
  python benchmarks/tables.py --data DIR --budget 30s --also tuned-xgboost,realmlp --out DIR2
"""
TUNED = ("unregularized", "single", "tuned", "ensemble")
RANKED = (*TUNED, "sklearn mlp", "linear", "xgboost", "xgboost, bal", *(m for methods in ALSO.values() for m in methods))
RIVALS = ("sklearn mlp", "linear", "xgboost", "xgboost, tuned", "realmlp")
COCKTAIL = ("adult", "credit_g", "arrhythmia", "phoneme", "kc1", "vehicle", "cnae_9", "shuttle", "car")
GROUPS = {"mice_protein": "mouse"}  # where the manifest names no group column
COCKTAIL_GAIN, MADELON, RMSE_SHARE, RMSE_SETS = 4.8, 80.0, 0.9, ("concrete", "california_housing", "abalone")


@dataclass(frozen=True)
class Entry:
    """One table of the manifest."""

    name: str
    path: Path
    target: str
    task: str
    group: str | None
    paper: dict[str, Any]


def entries(folder: Path, only: Sequence[str] | None) -> list[Entry]:
    out = []
    for row in read_json(folder / "manifest.json")["datasets"]:
        if row["kind"] == "tabular":
            out.append(Entry(row["name"], folder / row["file"], row["target"], row["task"],
                             row.get("group_column") or GROUPS.get(row["name"]), row.get("paper_reference", {})))
    unknown = sorted(set(only or ()) - {e.name for e in out})
    if unknown:
        raise SystemExit(f"no such table: {', '.join(unknown)}; the manifest has {', '.join(e.name for e in out)}")
    return [e for e in out if not only or e.name in only]


# ---- the tune run


def tuned(entry: Entry, run: Path, budget: str, seed: int, threads: int) -> wf.TuneResult:
    """The finished run: made now, gone on with, or read."""
    if (run / "run.json").is_file():
        return wf.tune(resume=run, progress=False, workers=threads)
    return wf.tune(entry.path, entry.target, budget=budget, out=run, seed=seed, task=entry.task, group=entry.group,
                   overwrite=run.exists(), progress=False, workers=threads)


def from_summary(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The four networks of a run. The single method is the one with the best validation score.

    Where the budget did not allow for testing any single method, the unregularized network stands for it.
    """
    sign = 1 if summary["higher_is_better"] else -1
    every = summary["singles"]
    singles = {n: s for n, s in every.items() if s["test"] is not None}
    single = max(singles, key=lambda n: sign * singles[n]["validation"], default=None)
    plain, best, ensemble = summary["unregularized"], summary["best"], summary["ensemble"]
    out = {"unregularized": _network(plain, None), "tuned": _network(best, summary["gain"])}
    out["tuned"] |= {"recipe": [p["name"] for p in best["recipe"]["regularizers"]],
                     "learning_rate": best["recipe"]["learning_rate"]}
    if single is None:
        out["single"] = {**out["unregularized"], "which": "none was tested"}
    else:
        better = [n for n in every if sign * every[n]["validation"] > sign * singles[single]["validation"]]
        out["single"] = {**_network(singles[single], singles[single]["gain"]), "which": single, "better_but_not_tested": better}
    # fewer than two members make no ensemble: what is offered is the tuned network
    out["ensemble"] = ({**_network(ensemble, ensemble["gain"]), "members": ensemble["members"]} if ensemble["test"] is not None
                       else {**out["tuned"], "members": 1})
    return out


def _network(row: dict[str, Any], gain: dict[str, Any] | None) -> dict[str, Any]:
    out = {"test": row["test"], "standard_error": None if row["ci"] is None else (row["ci"][1] - row["ci"][0]) / (2 * 1.96)}
    seeds = row.get("over_seeds") or {}
    out |= {"mean_over_seeds": seeds.get("mean"), "seeds": seeds.get("n"), "validation": row.get("validation"),
            "train": row.get("train")}
    if gain is not None and gain["test"] is not None:
        out |= {"gain": gain["test"], "gain_ci": gain["ci"], "gain_over_seeds": gain.get("mean_over_seeds")}
    return out


# ---- the others


def rows_of(entry: Entry, result: wf.TuneResult, seed: int, threads: int) -> Rows:
    from wellfit.data import Preprocessor, load_split, load_table
    from wellfit.search.score import Scorer
    from wellfit.search.settings import Budget

    loaded = load_table(entry.path, entry.target, task=entry.task, group=entry.group)
    split = load_split(result.path / "split.npz")
    preprocessor = Preprocessor.from_dict(read_json(result.path / "best" / "preprocess.json")["features"])
    scorer = Scorer(result.summary["metric"], loaded.y[split.test], len(loaded.classes or ()))
    plain = Preprocessor.fit(loaded, split.development, encoding="plain")
    return Rows(loaded, split, preprocessor.transform(loaded.frame), plain.transform(loaded.frame), scorer, seed,
                Budget.parse(read_json(result.path / "run.json")["budget"]).seconds, threads)


def saved_models(data: Rows, result: wf.TuneResult) -> dict[str, float]:
    """The scores of the saved models on the test rows, through ``predict``: they must be those of the summary."""
    test = data.table.frame.iloc[data.split.test]
    out = {}
    for method, model in (("tuned", "best"), ("ensemble", "ensemble")):
        if (result.path / model / "model.safetensors").is_file():
            predicted = result.predict(test, model=model)
            values = predicted[[f"p_{n}" for n in data.table.class_names or ()] or ["prediction"]].to_numpy()
            out[method] = data.scorer.score(data.scorer.error(data.scorer.rows(values)))
    return out


# ---- one table


def run_table(entry: Entry, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one table with one seed, from its file where it is there already."""
    key = f"{entry.name}-seed{seed}"
    file = arguments.out / f"{key}.json"
    record = read_json(file) if file.is_file() else {}
    if record and record["budget"] != arguments.budget:
        raise SystemExit(f"{file} was made with --budget {record['budget']}: choose another --out, or remove it")
    families = {**{f: m for f, m in FAMILIES.items() if f not in arguments.skip}, **{f: ALSO[f] for f in arguments.also}}
    wanted = [m for methods in families.values() for m in methods
              if entry.task != "regression" or m != "sklearn mlp, bal"]
    missing = [m for m in wanted if m not in record.get("methods", {})]
    if record and not missing:
        return record
    began = time.perf_counter()
    result = tuned(entry, arguments.out / "runs" / key, arguments.budget, seed, arguments.threads)
    elapsed = time.perf_counter() - began
    summary = result.summary
    if not record:
        kept = ("task", "metric", "higher_is_better", "n", "class_weights", "network", "selection", "cost")
        record = {"name": entry.name, "seed": seed, "budget": arguments.budget, **{k: summary[k] for k in kept},
                  "verdict": summary["verdict"]["kind"], "seconds": max(elapsed, summary["cost"]["seconds"]),
                  "paper": entry.paper, "methods": from_summary(summary), "environment": environment(threads=arguments.threads)}
    data = rows_of(entry, result, seed, arguments.threads)
    if "saved_models" not in record:
        record["saved_models"] = saved_models(data, result)
        write_json(file, record)
    for method in missing:
        twin = same_as(data, method)
        record["methods"][method] = {**record["methods"][twin], "same_as": twin} if twin else judged(data, method)
        write_json(file, record)
    return record


def same_as(data: Rows, method: str) -> str | None:
    """A method that gives the very same model on these data."""
    if method == "xgboost, bal" and not data.classes:
        return "xgboost"  # no classes to balance
    if method == "sklearn mlp, own" and data.classes and np.array_equal(data.plain, data.inputs):
        return "sklearn mlp"
    return None


def in_percent(record: dict[str, Any]) -> bool:
    return record["metric"] == "balanced_accuracy"  # type: ignore[no-any-return]


def number(record: dict[str, Any], value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    value += 0.0  # no negative zero
    return f"{100 * value:.1f}" if in_percent(record) else f"{value:.4g}"


def print_table(record: dict[str, Any]) -> None:
    """All methods on one table."""
    plain = record["methods"]["unregularized"]["test"]
    sign = 1 if record["higher_is_better"] else -1
    rows = []
    for method in dict.fromkeys((*TUNED, *BASELINES, *RANKED)):
        found = record["methods"].get(method)
        if found is None or found["test"] is None:
            continue
        ci = found.get("gain_ci")
        rows.append([method + (f" ({found['which']})" if "which" in found else ""), number(record, found["test"]),
                     number(record, found["standard_error"]), number(record, sign * (found["test"] - plain)),
                     f"{number(record, ci[0])} to {number(record, ci[1])}" if ci else "",
                     "" if found.get("seconds") is None else f"{found['seconds']:.1f}"])
    n = record["n"]
    print(table([f"{record['name']} (seed {record['seed']})", record["metric"] + (" %" if in_percent(record) else ""),
                 "± 1 se", "gain", "95% interval", "seconds"], rows))
    best = record["methods"]["tuned"]
    print(f"rows {n['train']} + {n['validation']} + {n['test']}; the unregularized network {record['verdict']}; tune took "
          f"{record['seconds']:.0f} s for {record['cost']['configurations']} configurations\n"
          f"tuned recipe: {', '.join(best['recipe']) or 'no regularization'}; learning rate {best['learning_rate']:.2g}")
    for method, score in record["saved_models"].items():
        if abs(score - record["methods"][method]["test"]) > 1e-3 * max(1.0, abs(score)):
            print(f"WARNING: the saved model of {method} predicts {number(record, score)} on the test rows")
    print(flush=True)


# ---- all tables


def averaged(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per table the mean over seeds of every method's test score, standard error and gain."""
    out: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(r["name"] for r in records):
        own = [r for r in records if r["name"] == name]
        methods: dict[str, dict[str, float]] = {}
        for method in own[0]["methods"]:
            found = [r["methods"].get(method) for r in own]
            if all(f is not None and f["test"] is not None for f in found):
                methods[method] = {k: mean([f[k] for f in found]) for k in ("test", "standard_error", "gain", "gain_over_seeds")
                                   if all(f.get(k) is not None for f in found)}
        out[name] = {**{k: own[0][k] for k in ("task", "metric", "higher_is_better", "paper")}, "methods": methods}
    return out


def ranks(tables: dict[str, dict[str, Any]], methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Per table the rank of each method (1 is best, ties share the mean); tables that lack a method are left out."""
    out = {}
    for name, record in tables.items():
        if all(m in record["methods"] for m in methods):
            sign = -1 if record["higher_is_better"] else 1
            values = {m: round(sign * record["methods"][m]["test"], 12) for m in methods}
            out[name] = {m: 0.5 + sum((v < own) + 0.5 * (v == own) for v in values.values()) for m, own in values.items()}
    return out


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tables = averaged(records)
    present = [m for m in dict.fromkeys((*TUNED, *BASELINES, *RANKED)) if any(m in t["methods"] for t in tables.values())]
    on = {m: sum(m in t["methods"] for t in tables.values()) for m in present}
    ranked = [m for m in RANKED if m in present and on[m] == max(on.values())]  # one that was run on a few would hide the others
    ranking = ranks(tables, ranked)
    classified = [t for t in tables.values() if t["metric"] == "balanced_accuracy"]
    methods = {}
    for method in present:
        scores = [100 * t["methods"][method]["test"] for t in classified if method in t["methods"]]
        own = [r[method] for r in ranking.values() if method in r]
        methods[method] = {"mean": mean(scores), "median": float(np.median(scores)) if scores else math.nan,
                           "sets": len(scores), "mean_rank": mean(own) if own else None,
                           "ranked_sets": len(own),
                           "wins": sum(r[method] == min(r.values()) for r in ranking.values()) if own else None}
    cocktail = {n: beside_paper(t) for n, t in tables.items() if n in COCKTAIL}
    rivalry = {own: {m: (mean([r[m] for r in found.values()]), sum(r[m] == min(r.values()) for r in found.values()), len(found))
                     for m in (own, *RIVALS)}
               for own in ("ensemble", "tuned") if (found := ranks(tables, (own, *RIVALS)))}
    return {"methods": methods, "ranks": ranking, "ranked": ranked, "rivalry": rivalry, "cocktail": cocktail, "tables": tables,
            "targets": targets(tables, methods, cocktail, rivalry)}


def beside_paper(found: dict[str, Any]) -> dict[str, float | None]:
    """Gains in points: ours, that of whichever method is best on the test rows themselves, and the cocktail paper's."""
    plain, best, ensemble = (found["methods"][m] for m in ("unregularized", "tuned", "ensemble"))
    return {"unregularized": 100 * plain["test"], "tuned": 100 * best["test"], "gain": 100 * (best["test"] - plain["test"]),
            "gain_over_seeds": 100 * best.get("gain_over_seeds", math.nan),
            "ensemble_gain": 100 * (ensemble["test"] - plain["test"]),
            "best_gain": 100 * (max(m["test"] for m in found["methods"].values()) - plain["test"]),
            "paper_plain": found["paper"].get("MLP"), "paper_cocktail": found["paper"].get("cocktail")}


def targets(tables: dict[str, dict[str, Any]], methods: dict[str, Any], cocktail: dict[str, Any],
            rivalry: dict[str, dict[str, tuple[float, int, int]]]) -> list[dict[str, Any]]:
    """The targets of the benchmark, with what was measured; ``reached`` is None where something is missing."""
    out: list[dict[str, Any]] = []

    def add(text: str, reached: bool | None) -> None:
        out.append({"text": text, "reached": reached})

    worse = []
    for name, t in tables.items():
        plain, best = t["methods"]["unregularized"], t["methods"]["tuned"]
        loss = (plain["test"] - best["test"]) * (1 if t["higher_is_better"] else -1)
        # a network without a mistake has a standard error of 0, as if a single row could tell two networks apart
        error = max(plain["standard_error"], best["standard_error"])
        if loss > error:
            worse.append(f"{name} by {loss / error:.1f} standard errors")
    add("tuned is never worse than unregularized by more than one standard error of the test set"
        + (f": worse on {', '.join(worse)}" if worse else f" ({len(tables)} tables)"), not worse)
    gain = mean([c["gain"] for c in cocktail.values()])
    whole = len(cocktail) == len(COCKTAIL)
    add(f"mean gain over the unregularized network at least {COCKTAIL_GAIN} points on the cocktail paper's sets: {gain:.2f} "
        f"({len(cocktail)} of {len(COCKTAIL)} sets)", gain >= COCKTAIL_GAIN if whole else None)
    for other in ("xgboost", "xgboost, bal"):
        mine, theirs = (methods.get(m, {}).get("mean_rank") for m in ("ensemble", other))
        measured = "" if mine is None or theirs is None else f": {mine:.2f} against {theirs:.2f}"
        add(f"mean rank of the tuned ensemble better than that of {other}{measured}",
            None if mine is None or theirs is None else mine < theirs)
    for own, found in rivalry.items():
        add(f"{own} first in mean rank, one against {', '.join(RIVALS)}: {found[own][0]:.2f}, "
            f"next {min(found[m][0] for m in RIVALS):.2f}", found[own][0] < min(found[m][0] for m in RIVALS))
    found = tables.get("madelon", {}).get("methods", {})
    measured = f": {100 * found['tuned']['test']:.1f} (ensemble {100 * found['ensemble']['test']:.1f})" if found else ""
    add(f"madelon, tuned: at least {MADELON:g}{measured}", 100 * found["tuned"]["test"] >= MADELON if found else None)
    for name in RMSE_SETS:
        found = tables.get(name, {}).get("methods", {})
        for other in ("sklearn mlp", "sklearn mlp, own"):
            if other in found:
                single, many = (found[m]["test"] / found[other]["test"] for m in ("tuned", "ensemble"))
                add(f"{name}: RMSE at most {RMSE_SHARE:g} of {other}: {single:.3f} (ensemble {many:.3f})", single <= RMSE_SHARE)
            else:
                add(f"{name}: RMSE at most {RMSE_SHARE:g} of {other}", None)
    return out


def print_summary(found: dict[str, Any]) -> None:
    tables = found["tables"]
    present = list(found["methods"])
    print("TEST SCORES (balanced accuracy in %, or RMSE); * is the best\n")
    rows = []
    for name, t in tables.items():
        values = {m: v["test"] for m, v in t["methods"].items()}
        best = (max if t["higher_is_better"] else min)(values.values())
        rows.append([name, *(number(t, values.get(m)) + ("*" if values.get(m) == best else " ") for m in present)])
    print(table(["", *present], rows))
    print("\nMETHODS (mean and median of balanced accuracy over the classification sets; ranks and wins over all sets; a tie "
          "wins for each)\n")
    print(table(["", "mean", "median", "sets", "mean rank", "wins"],
                [[m, f"{v['mean']:.2f}", f"{v['median']:.2f}", v["sets"],
                  "" if v["mean_rank"] is None else f"{v['mean_rank']:.2f}", v["wins"]] for m, v in found["methods"].items()]))
    print(f"\n{len(found['ranks'])} tables are ranked, among: {', '.join(found['ranked'])}")
    for own, rivals in found["rivalry"].items():
        print(f"{own} against the others alone, {rivals[own][2]} tables (mean rank of {len(rivals)}, wins): "
              + ", ".join(f"{m} {rank:.2f} ({wins})" for m, (rank, wins, _) in rivals.items()))
    if found["cocktail"]:
        print_cocktail(found["cocktail"])
    print("\nTARGETS\n")
    for target in found["targets"]:
        print(verdict(target["reached"], target["text"]))


def print_cocktail(found: dict[str, dict[str, Any]]) -> None:
    print("\nTHE COCKTAIL PAPER'S SETS (gain over the unregularized network in points; the paper has its own split, network "
          "and search)\n")
    rows, paper = [], {}
    for name, c in found.items():
        known = c["paper_plain"] is not None and c["paper_cocktail"] is not None
        if known:
            paper[name] = c["paper_cocktail"] - c["paper_plain"]
        rows.append([name, f"{c['unregularized']:.1f}", f"{c['tuned']:.1f}", f"{c['gain']:+.1f}",
                     f"{c['gain_over_seeds']:+.1f}", f"{c['ensemble_gain']:+.1f}", f"{c['best_gain']:+.1f}",
                     *((f"{c['paper_plain']:.1f}", f"{c['paper_cocktail']:.1f}", f"{paper[name]:+.1f}") if known else "---")])
    gains = [mean([c[k] for c in found.values()]) for k in ("gain", "gain_over_seeds", "ensemble_gain", "best_gain")]
    rows.append(["mean", "", "", *(f"{g:+.2f}" for g in gains), "", "", f"{mean(list(paper.values())):+.2f}"])
    print(table(["", "unregularized", "tuned", "gain", "gain, mean of seeds", "gain of ensemble", "best of all methods",
                 "paper: plain", "cocktail", "gain"], rows))
    theirs = [c["paper_cocktail"] - c["unregularized"] for c in found.values() if c["paper_cocktail"] is not None]
    print("\nbest of all methods: whichever is best on the test rows themselves, which nobody may choose by. The paper's cocktails "
          f"are {mean(theirs):+.2f} points above the unregularized networks here, in the mean (on other splits).")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json and the tables")
    parser.add_argument("--budget", default="3m", help="of each tune run: a time, or configurations such as 60c (default 3m)")
    parser.add_argument("--only", type=words, help="names of tables, separated by commas (default: all)")
    parser.add_argument("--seeds", type=numbers, default=[0], help="of splits and searches; means are taken (default 0)")
    parser.add_argument("--skip", type=words, default=[], help=f"leave out other methods: {', '.join(FAMILIES)}")
    parser.add_argument("--also", type=words, default=[], help=f"others, with the same budget: {', '.join(ALSO)}")
    parser.add_argument("--threads", type=int, default=cores(),
                        help="processes of tune (default: one per core); the other methods use one thread")
    parser.add_argument("--out", type=Path, default=RESULTS / "tables", help="folder of results and runs (default %(default)s)")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.skip) - set(FAMILIES)):
        parser.error(f"--skip knows {', '.join(FAMILIES)}, not {', '.join(unknown)}")
    if unknown := sorted(set(arguments.also) - set(ALSO)):
        parser.error(f"--also knows {', '.join(ALSO)}, not {', '.join(unknown)}")

    chosen = entries(arguments.data, arguments.only)
    records, failed = [], []
    for entry in chosen:
        for seed in arguments.seeds:
            try:
                record = run_table(entry, seed, arguments)
            except Exception as error:  # one table must not cost the others; a second call tries it again
                traceback.print_exc()
                failed.append(f"{entry.name} (seed {seed}): {type(error).__name__}")
                continue
            records.append(record)
            print_table(record)
    if not records:
        return 1
    found = summarise(records)
    print_summary(found)
    path = write_json(arguments.out / "summary.json", {
        "benchmark": "tables", "environment": environment(threads=arguments.threads), "budget": arguments.budget,
        "seeds": arguments.seeds, "failed": failed, **found})
    return closed(path, failed)


if __name__ == "__main__":
    sys.exit(main())

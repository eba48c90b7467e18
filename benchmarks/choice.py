#!/usr/bin/env python3
"""When is a recipe to be preferred to none? Rules for the last choice of a search, judged on rows that no choice saw.

Every cell is one ``wf.tune`` on one core up to its finalists, which have been trained with several seeds and divisions of the rows.
Each rule then chooses among them; what it chose is trained on all development rows with five seeds and judged on the test rows.

  none        no regularization
  best        the smallest merit (error and half the log loss)
  error 1se   the best whose gain in the metric is a standard error of that gain
  merit 2se   the best whose gain in merit is two standard errors of that gain
  either      the best that the one or the other supports, and whose metric is no worse: what ``wf.tune`` does

Regression has one measure, so that ``either`` is ``error 1se``. Cells are kept in a JSON lines file; the same command goes on after
an interruption.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import RESULTS, cores, environment, mean, numbers, table, words
from tables import Entry, entries

import wellfit as wf

TABLES = ("credit_g", "vehicle", "phoneme", "cnae_9", "car", "kc1", "mice_protein", "arrhythmia", "telco_churn", "adult", "shuttle",
          "leukemia_allaml")
SEEDS = 5
EXAMPLES = """examples:
  python benchmarks/choice.py --data DIR --budget 30s --seeds 0,1,2
  python benchmarks/choice.py --show
"""


class _Enough(Exception):
    """The finalists are known."""


def rules(scorer: Any, finalists: list[Any], plain: Any, resamples: np.ndarray) -> dict[str, Any]:
    """What each rule chooses."""
    from wellfit.search.selection import best_supported, clear, paired, paired_merit

    others = [c for c in sorted(finalists, key=lambda c: c.merit) if c.configuration.key != plain.configuration.key]
    of_error = {id(c): paired(scorer, plain, c, resamples) for c in others}
    of_merit = {id(c): paired_merit(scorer, plain, c, resamples) if scorer.counts_rows else of_error[id(c)] for c in others}

    def first(holds: Callable[[Any], bool]) -> Any:
        return next((c for c in others if holds(c)), plain)

    return {"none": plain, "best": min(finalists, key=lambda c: c.merit), "error 1se": first(lambda c: clear(of_error[id(c)], 1)),
            "merit 2se": first(lambda c: clear(of_merit[id(c)], 2)), "either": best_supported(scorer, finalists, plain, resamples)}


def cell(given: tuple[Entry, int, str]) -> dict[str, Any]:
    """One search, every rule's choice, and how the choices do on the test rows."""
    import torch

    from wellfit.search import conclude

    entry, seed, budget = given
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    out: dict[str, Any] = {"table": entry.name, "seed": seed, "budget": budget}

    def judge(self: Any, findings: Any, finalists: list[Any], known: list[Any]) -> None:
        plain = next(c for c in [*finalists, *known] if c.configuration.origin == "unregularized")
        chosen = rules(self.scorer, finalists, plain, self.resamples)
        distinct = {c.configuration.key: c for c in chosen.values()}
        split = self.prepared.split
        problem = replace(self.prepared.problem(self.settings, ((split.development, split.development[:0]),)), probe_rows=64)
        wanted = [(c.configuration, s, max(1, round(c.epochs)) if "early_stopping" in c.configuration.recipe else None)
                  for c in distinct.values() for s in range(SEEDS)]
        fits = self.trainer.refit("judged", problem, wanted, torch.from_numpy(split.test))
        scorer = self.prepared.scorer(split.test)
        errors: dict[Any, list[float]] = {}
        for fit in fits:
            errors.setdefault(fit.configuration.key, []).append(
                scorer.error(scorer.rows(fit.predictions)) if fit.predictions is not None else float("nan"))
        out.update(seeds=len(plain.outcomes), task=self.prepared.task, finalists=len(finalists),
                   rules={name: {"error": mean(errors[c.configuration.key]), "recipe": list(c.configuration.parts)}
                          for name, c in chosen.items()})
        raise _Enough

    where = tempfile.mkdtemp()
    try:
        with mock.patch.object(conclude.Conclusion, "_choose", judge):
            wf.tune(entry.path, target=entry.target, task=entry.task, group=entry.group, budget=budget, seed=seed, workers=1,
                    out=Path(where) / "run", progress=False)
    except _Enough:
        pass
    finally:
        shutil.rmtree(where, ignore_errors=True)
    return out


def show(cells: list[dict[str, Any]]) -> str:
    """Per table, the share of the unregularized network's test error that each rule takes away."""
    names = list(cells[0]["rules"])
    rows: list[list[Any]] = []
    gains: dict[str, list[float]] = {n: [] for n in names}
    for name in dict.fromkeys(c["table"] for c in cells):
        mine = [c for c in cells if c["table"] == name]
        row: list[Any] = [name, len(mine)]
        for rule in names:
            per = [1 - c["rules"][rule]["error"] / max(c["rules"]["none"]["error"], 1e-9) for c in mine]
            points = [100 * (c["rules"]["none"]["error"] - c["rules"][rule]["error"]) for c in mine]
            gains[rule] += points if mine[0]["task"] != "regression" else []
            row.append(f"{100 * mean(per):.1f}")
        rows.append(row)
    text = table(["% of the error taken away", "cells", *names], rows)
    lines = [text, "", "classification, points of the metric above no regularization, mean over cells (standard error):"]
    for rule in names:
        values = np.array(gains[rule])
        lines.append(f"  {rule:10s} {values.mean():+.2f} ({values.std(ddof=1) / np.sqrt(len(values)):.2f}), "
                     f"worse by more than 1 point in {int((values < -1).sum())} of {len(values)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with manifest.json and the tables")
    parser.add_argument("--budget", default="30s", help="of each search, on one core (default %(default)s)")
    parser.add_argument("--only", type=words, default=list(TABLES), help="names of tables (default: twelve)")
    parser.add_argument("--seeds", type=numbers, default=[0], help="of splits and searches (default 0)")
    parser.add_argument("--workers", type=int, default=cores(), help="cells at a time (default %(default)s)")
    parser.add_argument("--show", action="store_true", help="print what there is")
    parser.add_argument("--out", type=Path, default=RESULTS / "choice.jsonl", help="(default %(default)s)")
    given = parser.parse_args()
    kept = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    if not given.show:
        if given.data is None:
            parser.error("--data is needed, or --show")
        done = {(c["table"], c["seed"], c["budget"]) for c in kept}
        todo = [(entry, seed, given.budget) for seed in given.seeds for entry in entries(given.data, given.only)
                if (entry.name, seed, given.budget) not in done]
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with multiprocessing.get_context("spawn").Pool(given.workers, maxtasksperchild=1) as pool, given.out.open("a") as file:
            for found in pool.imap_unordered(cell, todo):
                if "rules" in found:
                    kept.append(found)
                    file.write(json.dumps(found) + "\n")
                    file.flush()
                print(f"{found['table']} {found['seed']}: "
                      + (", ".join(f"{n} {r['error']:.4g}" for n, r in found["rules"].items()) if "rules" in found else "nothing"),
                      flush=True)
        print(environment(budget=given.budget))
    if kept:
        print(show(kept))


if __name__ == "__main__":
    main()

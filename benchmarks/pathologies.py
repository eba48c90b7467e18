#!/usr/bin/env python3
"""Does ``wf.diagnose`` name what was planted?

One thing is spoiled in a sound set-up on real data (``pathology_plants.py``), and the diagnosis has to name it. A case counts only
where the planting is true: rows that the diagnosis never sees show that it does harm, and more than other explanations would gain
(``pathology_truth.py`` states the criterion of each). Cases where it is not are left out, and counted.

The accepted verdict of each planting:

- healthy: ``fits_well``. No single change would gain; leaving half of a noisy target unexplained is no fault of the network.
- label_noise_10, _20, _40: ``label_noise``. Wrong labels look like overfitting, yet true labels gain more than anything else.
- leak_duplicates, leak_group, leak_column_exact, leak_column_noisy: ``leakage``. Whatever else is wrong, no number that is
  measured can be believed before the leak is mended.
- excess_width: ``overfits``. The rows are enough for a smaller or regularized network.
- scarce_data: ``too_little_data``. The network is regularized already: what is missing is rows.
- too_much_decay, too_much_dropout: ``over_regularized``, although the training loss is that of a network that is too small.
- dropout_before_norm: ``broken_setup``: training and evaluation compute different things.
- rate_too_high, rate_too_low: ``underfits_optimisation``.
- capacity_too_small: ``underfits_capacity``.
- covariate_shift: ``shift``.

One verdict is accepted for each. Data sets are in two halves: thresholds of the diagnosis may be set while looking at
the development half, and the judgement half is for the result. Every finished case is one line of a JSON lines file, and the same
command goes on after an interruption; what is known of the plantings is kept beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, environment, words, write_json
from pathology_data import HALVES, SETS, DataSet
from pathology_engine import Engine
from pathology_network import task_of
from pathology_plants import ACCEPTED, PLANTS, Planted, applies
from pathology_report import append, page, read, shown, summary
from pathology_truth import Truth

import wellfit as wf
from wellfit.population.pool import Pool

EXAMPLES = """examples:
  python benchmarks/pathologies.py --data DIR --half development --seeds 0 --budget 20s
  python benchmarks/pathologies.py --data DIR --cases healthy,scarce_data --datasets digits,car --seeds 0,1
  python benchmarks/pathologies.py --datasets digits,breast_cancer --seeds 0        the sets of scikit-learn, without --data
  python benchmarks/pathologies.py --data DIR --truth                               which plantings are true, no diagnosis
  python benchmarks/pathologies.py --show --half development                        the table of what is there already
  python benchmarks/pathologies.py --write-docs                                     docs/pathologies.md and .json from the results
"""
DOCS = Path(__file__).resolve().parents[1] / "docs"
Line = dict[str, Any]
Diagnose = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A planting on a set with a seed."""

    plant: str
    name: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.plant}/{self.name}/{self.seed}"

    @property
    def half(self) -> str:
        return SETS[self.name].half


def cases(plants: Sequence[str], sets: Sequence[DataSet], seeds: Sequence[int], steps: int | None = None) -> Iterator[Case]:
    """All that make sense: seed by seed, and diagonally, so that what is done early says something of all plantings and sets.

    Each planting meets the first ``steps`` sets of its diagonal, the same ones with every seed, or all of them.
    """
    for seed in seeds:
        for step in range(len(sets) if steps is None else min(steps, len(sets))):
            pairs = [(plant, sets[(number + step) % len(sets)]) for number, plant in enumerate(plants)]
            yield from (Case(plant, found.name, seed) for plant, found in pairs if applies(plant, found))


def asked(case: Case, planted: Planted, budget: str) -> tuple[Any, dict[str, Any]]:
    """What ``wf.diagnose`` is called with."""
    shared = {"seed": case.seed, "budget": budget, "progress": False}
    if planted.network == "dropout_before_norm":
        return task_of(planted.given.rows, case.seed, case.name), shared
    given = planted.given.set_up
    return planted.given.rows, {"target": "target", "recipe": given.recipe, "hidden": given.hidden,
                                "learning_rate": given.learning_rate, "epochs": given.epochs, "batch_size": given.batch_size,
                                "test": planted.test, **shared}


def judged(case: Case, truth: Truth, budget: str, diagnose: Diagnose | None) -> Line:
    """One line: whether the planting is true and, if it is, what the diagnosis says."""
    began = time.perf_counter()
    known = truth.of(case.plant, case.name, case.seed)
    line: Line = {"case": case.key, "plant": case.plant, "set": case.name, "seed": case.seed, "half": case.half,
                  "holds": known["holds"], "truth": known, "truth_seconds": round(time.perf_counter() - began, 1)}
    if not known["holds"] or diagnose is None:
        return line
    data, given = asked(case, truth.planted(case.plant, case.name, case.seed), budget)
    began = time.perf_counter()
    try:
        found = diagnose(data, **given)
        line |= {"cause": found.cause, "confidence": found.confidence, "diagnosis": found.to_mapping()}
    except Exception as error:  # one case that fails must not end the others; it counts as wrong
        line |= {"cause": "failed", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-3000:]}
    right = line["cause"] in ACCEPTED[case.plant]
    return line | {"budget": budget, "seconds": round(time.perf_counter() - began, 1), "right": right}


def _work(case: Case, data: Path | None, folder: Path, budget: str, truth_only: bool) -> Line:
    torch.set_num_threads(1)
    with Pool(1) as pool:
        return judged(case, Truth(Engine(pool), data, folder), budget, None if truth_only else wf.diagnose)


def _on_one_core(counter: Any) -> None:
    """Workers that share a core would each think to have them all."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        with counter.get_lock():
            number, counter.value = counter.value, counter.value + 1
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def run(todo: Sequence[Case], arguments: argparse.Namespace, path: Path) -> None:
    work = partial(_work, data=arguments.data, folder=arguments.folder, budget=arguments.budget, truth_only=arguments.truth)
    began = time.perf_counter()
    if arguments.workers <= 1:
        for number, case in enumerate(todo, 1):
            _told(work(case), path, number, len(todo), began, arguments.quiet)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context, initializer=_on_one_core,
                             initargs=(context.Value("i", 0),)) as pool:
        for number, job in enumerate(as_completed([pool.submit(work, case) for case in todo]), 1):
            _told(job.result(), path, number, len(todo), began, arguments.quiet)


def _told(line: Line, path: Path, number: int, total: int, began: float, quiet: Sequence[str]) -> None:
    append(path, [{**line, "commit": _commit()}])
    said = ("not true, left out" if not line["holds"] else "true" if "cause" not in line else
            "" if line["half"] in quiet else f"{line['cause']}{'' if line['right'] else '   <- WRONG'} ({line['seconds']} s)")
    print(f"[{number}/{total}, {(time.perf_counter() - began) / 60:.1f} min] {line['case']}: {said}", flush=True)


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=DOCS.parent, check=False)
    return found.stdout.strip()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets with their manifest; without it: those of scikit-learn")
    parser.add_argument("--cases", type=words, default=list(PLANTS), help="plantings, with commas")
    parser.add_argument("--datasets", type=words, default=[], help="data sets, with commas")
    parser.add_argument("--half", choices=(*HALVES, "both"), default="both")
    parser.add_argument("--seeds", type=words, default=["0", "1", "2"], help="with commas")
    parser.add_argument("--steps", type=int, help="how many of the sets each planting meets (default: all of them)")
    parser.add_argument("--budget", default="60s", help="of one diagnosis")
    parser.add_argument("--workers", type=int, default=1, help="cases side by side, each on a core of its own")
    parser.add_argument("--folder", type=Path, default=RESULTS / "pathologies", help="of the results and of what is known already")
    parser.add_argument("--name", default="results", help="of the results file, to keep several runs apart")
    parser.add_argument("--truth", action="store_true", help="find out which plantings are true, without a diagnosis")
    parser.add_argument("--quiet", type=words, default=["judgement"], help="halves whose single verdicts are not printed")
    parser.add_argument("--show", action="store_true", help="print what is there already")
    parser.add_argument("--write-docs", action="store_true", help="write docs/pathologies.md and docs/pathologies.json")
    found = parser.parse_args(arguments)
    for given, known, what in ((found.cases, PLANTS, "cases"), (found.datasets, SETS, "datasets")):
        if unknown := [g for g in given if g not in known]:
            parser.error(f"unknown {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    sets = [s for s in SETS.values() if (not given.datasets or s.name in given.datasets) and given.half in (s.half, "both")
            and (s.bundled or given.data is not None or given.show or given.write_docs)]
    wanted = list(cases(given.cases, sets, [int(s) for s in given.seeds], given.steps))
    path = given.folder / f"{'truth' if given.truth else given.name}.jsonl"
    if not (given.show or given.write_docs):
        done = {line["case"] for line in read(path) if given.truth or "cause" in line or not line["holds"]}
        run([c for c in wanted if c.key not in done], given, path)
    keys = {c.key for c in wanted}
    found = summary([line for line in read(path) if line["case"] in keys])
    print("\n" + shown(found))
    if given.write_docs:
        write_json(DOCS / "pathologies.json", {**found, "environment": environment(budget=given.budget)})
        (DOCS / "pathologies.md").write_text(page(found), encoding="utf-8")
        print(f"\nwritten: {DOCS / 'pathologies.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

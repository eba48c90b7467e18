#!/usr/bin/env python3
"""Which proposer finds the better recipe in the same time? ``wf.tune`` with one after the other, everything else alike.

  tpe        Optuna's TPE, multivariate, with a constant liar
  gp         Optuna's Gaussian process, over the same questions (what a recipe does not hold is asked all the same)
  cma        CMA-ES (the cmaes package, through Optuna), every question a number: the lower half of its range is "none"
  random     draws anywhere in the space
  neighbours half of the draws near the best eight so far, half anywhere

All of them begin with the same starts, are thinned by the same successive halving, and share a generation with what the first
glance (one fold, many configurations) lets through, but for ``random``, whose glance draws anywhere too. ``--portfolio FILE``
adds ``portfolio``: the first proposer with the combinations that ``portfolio.py`` learned on the other tables among its starts.

The network, its epochs, the folds and how numbers enter are chosen once per table and seed and given to all. A cell is one run on
one core, kept in a JSON lines file; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import RESULTS, cores, environment, mean, numbers, table, words

import wellfit as wf

EXAMPLES = """examples:
  python benchmarks/proposers.py --data DIR --budget 30s
  python benchmarks/proposers.py --data DIR --budget 30s --only credit_g,vehicle --proposers tpe,random --seeds 0,1
  python benchmarks/proposers.py --show
"""
TABLES = ("credit_g", "vehicle", "phoneme", "cnae_9", "car", "kc1", "mice_protein", "arrhythmia", "madelon", "concrete", "abalone")
Line = dict[str, Any]


# ---- the proposers; each has enqueue, ask and tell like wellfit's own


class Drawn:
    """No model: draws, half of them near the best eight told so far, or none."""

    def __init__(self, space: Any, seed: int, *, near: bool):
        self.space, self.near = space, near
        self._seed, self._asked = seed, 0
        self._queue: list[Any] = []
        self._open: dict[int, Any] = {}
        self._told: list[tuple[float, int, Any]] = []

    def enqueue(self, starts: Sequence[Any]) -> None:
        self._queue += list(starts)

    def ask(self, count: int) -> list[tuple[int, Any]]:
        from wellfit.search.screening import draw

        best = [c for *_, c in sorted(self._told)[:8]] if self.near else []
        first, self._queue = self._queue[:count], self._queue[count:]
        drawn = draw(self.space, count - len(first), 7_000_003 * (self._seed + 1) + self._asked, best)
        out = list(enumerate([*first, *drawn], self._asked))
        self._asked += len(out)
        self._open.update(out)
        return out

    def tell(self, number: int, error: float, *, pruned_at: int | None = None) -> None:
        configuration = self._open.pop(number)
        if pruned_at is None and math.isfinite(error):
            self._told.append((error, number, configuration))


class Answers:
    """A trial whose every answer is known; absent numbers stand in the middle of their range."""

    def __init__(self, known: dict[str, Any]):
        self.known = known

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self.known[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        middle = math.sqrt(low * high) if log else (low + high) / 2
        return min(max(float(self.known.get(name, middle)), low), high)


class Everything:
    """A trial that says "yes" to one option of every question and writes down what is asked."""

    def __init__(self) -> None:
        self.wanted: dict[str, Any] = {}
        self.questions: dict[str, list[Any]] = {}
        self.floats: dict[str, tuple[float, float, bool]] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.questions[name] = choices
        return self.wanted.get(name, choices[-1])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.floats[name] = (low, high, log)
        return math.sqrt(low * high) if log else (low + high) / 2


def flat(space: Any) -> Everything:
    """All questions of a space, those of every option too."""
    seen = Everything()
    space.suggest(seen)
    for name, choices in dict(seen.questions).items():
        for choice in choices[1:]:
            seen.wanted = {name: choice}
            space.suggest(seen)
    return seen


class Flat:
    """An Optuna sampler over one fixed set of parameters, with the questions as categories or as numbers."""

    def __init__(self, space: Any, sampler: Any, *, relaxed: bool):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.relaxed = space, relaxed
        seen = flat(space)
        self.questions = seen.questions
        self.distributions: dict[str, optuna.distributions.BaseDistribution] = {
            n: optuna.distributions.FloatDistribution(low, high, log=log) for n, (low, high, log) in seen.floats.items()}
        for name, choices in seen.questions.items():
            self.distributions[name] = (optuna.distributions.FloatDistribution(0.0, 1.0) if relaxed
                                        else optuna.distributions.CategoricalDistribution(choices))
        self.middle = {n: math.sqrt(low * high) if log else (low + high) / 2 for n, (low, high, log) in seen.floats.items()}
        self.study = optuna.create_study(sampler=sampler)
        self._open: dict[int, Any] = {}

    def enqueue(self, starts: Sequence[Any]) -> None:
        for start in starts:
            known = {**self.middle, **self.space.parameters(start)}
            if self.relaxed:
                known |= {n: self._as_number(c, known[n]) for n, c in self.questions.items()}
            self.study.enqueue_trial(known)

    def ask(self, count: int) -> list[tuple[int, Any]]:
        out = []
        for _ in range(count):
            trial = self.study.ask(self.distributions)
            self._open[trial.number] = trial
            known = dict(trial.params)
            if self.relaxed:
                known |= {n: self._as_choice(c, known[n]) for n, c in self.questions.items()}
            out.append((trial.number, self.space.suggest(Answers(known))))
        return out

    @staticmethod
    def _as_number(choices: list[Any], choice: Any) -> float:
        """The lower half is "none", the upper half is shared out."""
        at = choices.index(choice)
        return 0.25 if at == 0 else 0.5 + 0.5 * (at - 0.5) / (len(choices) - 1)

    @staticmethod
    def _as_choice(choices: list[Any], number: float) -> Any:
        return choices[0] if number < 0.5 else choices[min(1 + int((number - 0.5) * 2 * (len(choices) - 1)), len(choices) - 1)]

    def tell(self, number: int, error: float, *, pruned_at: int | None = None) -> None:
        import optuna

        del self._open[number]
        if math.isfinite(error):
            self.study.tell(number, error)  # a pruned one counts with what it had: these samplers know no pruning
        else:
            self.study.tell(number, state=optuna.trial.TrialState.FAIL)


def sampler(name: str, seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=10)
        return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=10, warn_independent_sampling=False)


PROPOSERS: dict[str, Callable[[Any, int], Any]] = {
    "gp": lambda space, seed: Flat(space, sampler("gp", seed), relaxed=False),
    "cma": lambda space, seed: Flat(space, sampler("cma", seed), relaxed=True),
    "random": lambda space, seed: Drawn(space, seed, near=False),
    "neighbours": lambda space, seed: Drawn(space, seed, near=True),
}
NAMES = ("tpe", *PROPOSERS)


class Timed:
    """A proposer whose clock is read."""

    seconds = 0.0
    asked = 0

    def __init__(self, inner: Any):
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            out = method(*arguments, **named)
            Timed.seconds += time.perf_counter() - begun
            Timed.asked += len(out) if name == "ask" else 0
            return out

        return called


@contextlib.contextmanager
def proposing(name: str, portfolio: dict[str, Any] | None) -> Iterator[None]:
    """``wf.tune`` with another proposer."""
    from wellfit.search import explore, menus, screening
    from wellfit.search.proposer import Proposer

    made = PROPOSERS.get(name, Proposer)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(explore, "Proposer", lambda space, seed: Timed(made(space, seed))))
        if name == "random":
            stack.enter_context(mock.patch.object(explore, "draw", lambda space, count, seed, best: screening.draw(
                space, count, seed, [])))
        if portfolio is not None:
            combinations = tuple((rate, parts) for rate, parts in portfolio["combinations"])
            stack.enter_context(mock.patch.object(menus, "TABLE", replace(menus.TABLE, combinations=combinations)))
        yield


# ---- cells


def asked(entry: dict[str, Any], seed: int, **given: Any) -> dict[str, Any]:
    """The arguments of ``wf.tune`` that say what is trained on what."""
    return {"data": entry["path"], "target": entry["target"], "seed": seed, "task": entry["task"], "metric": None,
            "class_weights": None, "group": entry["group"], "time": None, "test": None, "drop": [], "hidden": None,
            "activation": None, "epochs": None, "batch_size": None, "folds": None, "encoding": "auto", "engine": "auto", **given}


def settled(entry: dict[str, Any], budget: str, seed: int) -> dict[str, Any]:
    """What all runs on a table are given: chosen as a run with this budget on one core chooses."""
    from wellfit.population.native.library import why_not
    from wellfit.population.pool import Pool
    from wellfit.search.foundation import Asked
    from wellfit.search.opening import grounded, opened
    from wellfit.search.rundir import RunDirectory
    from wellfit.search.settings import Budget

    if reason := why_not():
        print(f"on tensors, with other settings and fewer configurations than usual: {reason}", file=sys.stderr)
    prepared, settings = opened(asked(entry, seed))
    with tempfile.TemporaryDirectory() as folder, Pool(1) as pool:
        run = RunDirectory.create(Path(folder) / "run")
        prepared, settings = grounded(run, prepared.with_folds(seed, settings.folds), settings, pool, seed,
                                      Asked(None, None, None, "auto"), Budget.parse(budget), time.monotonic(), lambda text: None)
    return {"hidden": list(settings.hidden), "epochs": settings.epochs, "folds": settings.folds, "batch_size": settings.batch_size,
            "encoding": prepared.describe()["encoding"]}


def cell(job: dict[str, Any]) -> Line:
    """One run."""
    entry, folder = job["entry"], Path(tempfile.mkdtemp())
    Timed.seconds, Timed.asked = 0.0, 0
    try:
        with proposing(job["proposer"], job["portfolio"]):
            summary = wf.tune(entry["path"], entry["target"], task=entry["task"], group=entry["group"], budget=job["budget"],
                              seed=job["seed"], out=folder / "run", workers=1, progress=False, **job["settled"]).summary
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sign = -1.0 if summary["higher_is_better"] else 1.0
    errors = {m: {k: (1.0 if sign < 0 else 0.0) + sign * v for k in ("validation", "test")
                  if (v := summary[m].get(k)) is not None} for m in ("unregularized", "best", "ensemble")}
    return {"name": entry["name"], "seed": job["seed"], "proposer": job["proposer"] + ("+portfolio" if job["portfolio"] else ""),
            "budget": job["budget"], "errors": errors, "settled": job["settled"],
            "configurations": summary["cost"]["configurations"], "asked": Timed.asked, "seconds_proposing": Timed.seconds,
            "recipe": [p["name"] for p in summary["best"]["recipe"]["regularizers"]],
            "environment": environment(workers=1)}


def shown(lines: Sequence[Line]) -> str:
    """Means of each proposer over the cells that all of them have."""
    names = list(dict.fromkeys(line["proposer"] for line in lines))
    cells = {(line["name"], line["seed"], line["proposer"]): line for line in lines}
    keys = [k for k in dict.fromkeys((line["name"], line["seed"]) for line in lines) if all((*k, n) in cells for n in names)]
    rows = []
    for name in names:
        row = [name]
        for model, part in (("best", "validation"), ("best", "test"), ("ensemble", "test")):
            ratios, ranks = [], []
            for key in keys:
                own = {n: cells[(*key, n)]["errors"] for n in names}
                plain = np.mean([own[n]["unregularized"][part] for n in names])  # one network, up to the clock's choices
                values = {n: own[n].get(model, {}).get(part, own[n]["best"][part]) for n in names}
                ratios.append(math.log(max(values[name], 5e-3) / max(plain, 5e-3)))
                ranks.append(1 + sum(v < values[name] for v in values.values()) + 0.5 * (
                    sum(v == values[name] for v in values.values()) - 1))
            spread = np.std(ratios, ddof=1) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan
            row.append(f"{math.exp(mean(ratios)):.3f} ± {spread:.3f} ({mean(ranks):.2f})")
        mine = [cells[(*k, name)] for k in keys]
        proposed = sum(line["asked"] for line in mine)
        row += [f"{mean([line['configurations'] for line in mine]):.0f}",
                f"{1000 * sum(line['seconds_proposing'] for line in mine) / max(proposed, 1):.1f}"]
        rows.append(row)
    head = ["proposer", "validation error", "test error", "ensemble's test error", "configurations", "ms a proposal"]
    return (f"{len(keys)} cells (tables and seeds). Errors as a share of the unregularized network's, geometric mean ± standard "
            f"error over cells, and mean rank of {len(names)}\n" + table(head, rows) + "\n" + against(cells, keys, names))


def against(cells: dict[Any, Line], keys: list[Any], names: list[str]) -> str:
    """Every proposer beside the first, paired over cells."""
    rows = []
    for name in names[1:]:
        row = [f"{name} / {names[0]}"]
        for model in ("best", "ensemble"):
            logs = [math.log(max(_test(cells[(*k, name)], model), 5e-3) / max(_test(cells[(*k, names[0])], model), 5e-3))
                    for k in keys]
            half = 1.96 * np.std(logs, ddof=1) / math.sqrt(len(logs)) if len(logs) > 1 else math.nan
            row.append(f"{math.exp(mean(logs)):.3f} ({math.exp(mean(logs) - half):.3f} to {math.exp(mean(logs) + half):.3f})")
        rows.append(row)
    return "\n" + table(["paired ratio of test errors (95%)", "tuned network", "ensemble"], rows) if rows else ""


def _test(line: Line, model: str) -> float:
    return float(line["errors"].get(model, {}).get("test", line["errors"]["best"]["test"]))


def entries(data: Path, only: Sequence[str]) -> list[dict[str, Any]]:
    from tables import entries as listed

    return [{"name": e.name, "path": str(e.path), "target": e.target, "task": e.task, "group": e.group}
            for e in listed(data, only)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with manifest.json and the tables")
    parser.add_argument("--budget", default="30s", help="of each run (default %(default)s)")
    parser.add_argument("--only", type=words, default=list(TABLES), help="names of tables (default: the small and middling ones)")
    parser.add_argument("--proposers", type=words, default=list(NAMES), help=f"default: {','.join(NAMES)}")
    parser.add_argument("--portfolio", type=Path, help="folder of portfolio.py: the first proposer again, with learned starts")
    parser.add_argument("--seeds", type=numbers, default=[0], help="of splits and searches (default 0)")
    parser.add_argument("--workers", type=int, default=cores(), help="runs side by side, a core each (default: all cores)")
    parser.add_argument("--out", type=Path, default=RESULTS / "proposers", help="folder of results (default %(default)s)")
    parser.add_argument("--show", action="store_true", help="print what there is and run nothing")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.proposers) - set(NAMES)):
        parser.error(f"no such proposer: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    file = given.out / f"proposers-{given.budget}.jsonl"
    lines = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    if not given.show:
        if given.data is None:
            parser.error("--data is needed to run anything")
        given.out.mkdir(parents=True, exist_ok=True)
        run(given, file, lines)
    wanted = [line for line in lines if line["name"] in given.only and line["seed"] in given.seeds]
    print(shown(wanted) if wanted else "nothing measured yet")
    return 0


def run(given: argparse.Namespace, file: Path, lines: list[Line]) -> None:
    """Cells that are missing, table by table, all proposers of one side by side."""
    known = {(line["name"], line["seed"], line["proposer"]): line for line in lines}
    names = [*given.proposers, *([f"{given.proposers[0]}+portfolio"] if given.portfolio else [])]
    with multiprocessing.get_context("spawn").Pool(given.workers, initializer=_one_thread) as pool:
        jobs: list[dict[str, Any]] = []
        for seed in given.seeds:
            for entry in entries(given.data, given.only):
                missing = [n for n in names if (entry["name"], seed, n) not in known]
                if not missing:
                    continue
                same = [line["settled"] for key, line in known.items() if key[:2] == (entry["name"], seed)]
                choice = same[0] if same else settled(entry, given.budget, seed)
                for name in missing:
                    learned = json.loads((given.portfolio / f"without-{entry['name']}.json").read_text(encoding="utf-8")) \
                        if name.endswith("+portfolio") else None
                    jobs.append({"entry": entry, "seed": seed, "proposer": name.removesuffix("+portfolio"), "budget": given.budget,
                                 "settled": choice, "portfolio": learned})
        for line in pool.imap_unordered(cell, jobs):
            lines.append(line)
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
            print(f"{line['name']} seed {line['seed']} {line['proposer']}: {line['configurations']} configurations, test error "
                  f"{line['errors']['best']['test']:.4g}", file=sys.stderr, flush=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())

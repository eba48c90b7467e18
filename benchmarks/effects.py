#!/usr/bin/env python3
"""What does each method alone do on real data?

Rows are the registered methods, columns are data sets. For each seed the built-in network is trained without and with the method:
the same examples, start and order. The difference on test examples counts, with a 95% interval over the seeds (t distribution).
Each seed draws training examples, or the split, anew. Nothing is tuned: a method has the strength at which ``wf.tune`` first tries
it, or its default; where both do nothing, the middle of its search range. A method that cannot do without another is compared with
that other alone. Images are learned by a convolutional network of 16, 32 and 64 channels, sounds by the same network on log-mel
spectrograms, tables by three hidden layers of 128.

Every finished training is one line of a JSON lines file, and the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, closed, environment, half_width, table, words
from effect_columns import COLUMNS, RATE, Column, Drawn

import wellfit as wf
from wellfit.core.describe import example
from wellfit.core.phases import phases_of
from wellfit.core.registry import lookup, registered
from wellfit.core.regularizer import Regularizer
from wellfit.population.modules.stack import ModuleStack
from wellfit.population.problem import Member
from wellfit.population.tiers import make_stack, tier_of
from wellfit.search.menus import TABLE

EXAMPLES = """examples:
  python benchmarks/effects.py --data DIR --columns vehicle,credit_g,concrete --seeds 5
  python benchmarks/effects.py --data DIR --columns mnist,cifar10_a_100 --seeds 3 --workers 2 --estimate
  python benchmarks/effects.py --data DIR --columns mnist --methods dropout,mixup,rotation --seeds 3
  python benchmarks/effects.py --show docs/effects.jsonl          the table of what is there already
"""
#: How much longer than the plain network a method takes, for estimates, by what it does.
DEARER = {"passes": 2.6, "ascent": 2.1, "rewrite": 1.4, "monitor": 1.3, "hidden": 1.2, "warp": 1.3, "batch": 1.2}
#: What a method needs beside it to have an effect, where it is not declared because other things do as well.
COMPANIONS = {"rdrop": (("dropout", {"rate": 0.2}),), "ghost_batch_norm": (("batch_norm", {}),),
              "batch_norm_recalibration": (("batch_norm", {}),)}
FITS = {"images": ("images",), "waveforms": ("waveforms", "spectrograms"), "rows": ("rows",)}
Line = dict[str, Any]


class Unfit(Exception):
    """Why a method is not tried on a column."""


# ---- what is tried


def setting(name: str, drawn: Drawn) -> Regularizer:
    """The method at the strength at which a search tries it first, or at its default, or in the middle of its search range."""
    given: Any = drawn.menu.singles.get(name) or TABLE.singles.get(name, {})
    return example(lookup(name), **given)


def recipes(name: str, column: Column, drawn: Drawn) -> tuple[wf.Recipe, wf.Recipe]:
    """(what it is compared with, with the method)."""
    cls = lookup(name)
    if cls.takes != "anything" and cls.takes not in FITS[column.kind]:
        raise Unfit(f"it takes {cls.takes}")
    if name in drawn.menu.refused:
        raise Unfit(drawn.menu.refused[name])
    beside: list[Any] = [lookup(n)(**v) for n, v in COMPANIONS.get(name, ())]  # type: ignore[arg-type]
    beside += [setting(other, drawn) for other in cls.requires]
    return wf.Recipe(*beside), wf.Recipe(*beside, setting(name, drawn))


# ---- one training


@dataclasses.dataclass(frozen=True)
class Job:
    """One comparison: a method on a column with a seed, what it is compared with, and the tier that trains both."""

    column: str
    seed: int
    epochs: int
    method: str
    against: Line
    recipe: Line
    tier: str

    @property
    def key(self) -> str:
        return json.dumps([self.column, self.seed, self.epochs, self.method, self.against["regularizers"],
                           self.recipe["regularizers"]], sort_keys=True)


@lru_cache(maxsize=2)
def drawn_for(folder: str, column: str, seed: int, epochs: int) -> Drawn:
    return COLUMNS[column].draw(Path(folder), seed, epochs)


def trained(folder: str, column: str, seed: int, epochs: int, mapping: Line, tier: str) -> Line:
    """Train one recipe and score it on the test rows."""
    drawn = drawn_for(folder, column, seed, epochs)
    recipe = wf.Recipe.from_mapping(mapping)
    cycles = next((p.cycles for p in recipe if "snapshot" in phases_of(p)), None)  # type: ignore[attr-defined]
    problem = drawn.problem
    if cycles:  # as its docstring asks for
        problem = dataclasses.replace(problem, rate_schedule=wf.CosineRestarts(1.0, cycles=int(cycles)))
    member = Member(recipe, RATE, seed)
    watched = any("monitor" in phases_of(p) for p in recipe)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error", wf.WellfitWarning)
        stack = make_stack(problem, [member], tier=tier)
        while not stack.finished().all():
            stack.run_epoch(evaluate=watched)
        outputs = stack.final_outputs(drawn.test, [0])[0]
    if isinstance(stack, ModuleStack) and stack.plan.snapshots:
        outputs = _of_snapshots(stack, drawn)
    return {"score": round(drawn.score(outputs), 4), "seconds": round(time.perf_counter() - began, 2), "tier": tier, **drawn.sizes}


def _of_snapshots(stack: ModuleStack, drawn: Drawn) -> torch.Tensor:
    """Logarithms of the mean probabilities, or the mean number."""
    classes = drawn.problem.classes
    parts = []
    for chunk in drawn.test.split(256):
        inputs, _ = stack.problem.rows.take(chunk)
        seen = inputs if stack.problem.features is None else stack.problem.features(inputs)
        parts.append(stack.plan.predict(seen).clamp_min(1e-12).log() if classes else stack.plan.predict(seen, link=lambda z: z))
    return torch.cat(parts)


def cell(folder: str, job: Job, base: Line | None) -> list[Line]:
    """The lines of one comparison: its baseline where that was not known, and the method's. Both are trained by one tier of the
    engine, since tiers differ in roundings."""
    drawn = drawn_for(folder, job.column, job.seed, job.epochs)
    head = {"column": job.column, "seed": job.seed, "epochs": job.epochs}
    lines = []
    if base is None:
        base = {**head, "method": None, "recipe": job.against["regularizers"],
                **trained(folder, job.column, job.seed, job.epochs, job.against, job.tier)}
        lines.append(base)
    found = trained(folder, job.column, job.seed, job.epochs, job.recipe, job.tier)
    effect = (found["score"] - base["score"]) * (1 if drawn.higher_is_better else -1)
    return [*lines, {**head, "method": job.method, "recipe": job.recipe["regularizers"], "against": job.against["regularizers"],
                     "without": base["score"], "with": found["score"], "effect": round(effect, 4), "metric": drawn.metric,
                     "seconds": found["seconds"], "tier": job.tier, **drawn.sizes}]


def _quietly() -> None:
    torch.set_num_threads(1)


# ---- the file


def read(path: Path) -> list[Line]:
    """The lines of a results file; a last line that was cut off is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def _append(path: Path, lines: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_off = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if cut_off else "")
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def summarised(lines: Sequence[Line]) -> dict[tuple[str, str], Line]:
    """By (method, column): mean effect, half width of its 95% interval (None for one seed), number of seeds, setting; or a reason.

    A later line of the same seed and setting counts instead of an earlier one; of several settings or lengths the last one counts.
    """
    groups: dict[tuple[str, str], dict[int, Line]] = {}
    reasons: dict[tuple[str, str], str] = {}
    for line in lines:
        if not line.get("method"):
            continue
        place = (line["method"], line["column"])
        if "reason" in line:
            reasons[place] = line["reason"]
            continue
        reasons.pop(place, None)
        mine = groups.setdefault(place, {})
        if mine and _setting(next(iter(mine.values()))) != _setting(line):
            mine.clear()
        mine[line["seed"]] = line
    out: dict[tuple[str, str], Line] = {p: {"reason": r} for p, r in reasons.items() if p not in groups}
    for place, mine in groups.items():
        last = mine[max(mine)]
        out[place] = {**_interval([m["effect"] for m in mine.values()]), "metric": last["metric"], "recipe": last["recipe"],
                      "against": last["against"], "epochs": last["epochs"], "train": last["train"], "test": last["test"],
                      "without": statistics.fmean(m["without"] for m in mine.values())}
    return out


def _setting(line: Line) -> str:
    return json.dumps([line["epochs"], line["recipe"], line["against"]], sort_keys=True)


def _interval(effects: Sequence[float]) -> Line:
    mean = statistics.fmean(effects)
    if len(effects) < 2:
        return {"effect": mean, "half": None, "seeds": 1}
    return {"effect": mean, "half": half_width(effects), "seeds": len(effects)}


def shown(entry: Line | None) -> str:
    """A cell of the table.

    >>> shown({"effect": 1.234, "half": 0.5, "seeds": 3}), shown({"effect": -2.0, "half": None, "seeds": 1}), shown({"reason": "x"})
    ('+1.23 ± 0.50', '-2.00 (1 seed)', '–')
    """
    if entry is None:
        return ""
    if "reason" in entry:
        return "–"
    return f"{entry['effect']:+.2f}" + (" (1 seed)" if entry["half"] is None else f" ± {entry['half']:.2f}")


def columns_of(found: dict[tuple[str, str], Line]) -> list[str]:
    there = {c for _, c in found}
    return [c for c in COLUMNS if c in there] + sorted(there - set(COLUMNS))


def grid(found: dict[tuple[str, str], Line]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: a row per method with a number anywhere, a column per data set."""
    columns = columns_of(found)
    methods = sorted({m for (m, _), e in found.items() if "effect" in e})
    rows = [[m, *(shown(found.get((m, c))) for c in columns)] for m in methods]
    return ["method", *columns], rows


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(lines: Sequence[Line]) -> None:
    found = summarised(lines)
    headers, rows = grid(found)
    print("\neffect on the test metric (positive: better) with a 95% interval over seeds\n")
    print(table(headers, rows))
    for column in columns_of(found):
        some = next((e for (_, c), e in found.items() if c == column and "effect" in e), None)
        if some:
            print(f"{column}: {some['metric']}; {some['train']} to learn from, {some['test']} for the test, "
                  f"{some['epochs']} epochs")
    for (method, column), entry in sorted(found.items()):
        if not entry.get("reason", "it takes").startswith("it takes"):
            print(f"– {method} on {column}: {entry['reason']}")
    print(f"\n{markdown(headers, rows)}")


# ---- the work


def _key(line: Line) -> str:
    return json.dumps([line["column"], line["seed"], line["epochs"], line["method"], line.get("against"), line["recipe"]],
                      sort_keys=True)


def jobs(arguments: argparse.Namespace, lines: Sequence[Line]) -> tuple[list[Job], list[Line]]:
    """What is left to do, seed by seed, and the reasons that were not known yet."""
    done = {_key(line) for line in lines if line.get("method") and "effect" in line}
    known = {(line["method"], line["column"]): line["reason"] for line in lines if "reason" in line}
    left: list[Job] = []
    reasons = []
    for column in (COLUMNS[c] for c in arguments.columns):
        epochs = arguments.epochs or column.passes
        drawn = drawn_for(str(arguments.data), column.name, 0, epochs)
        for method in arguments.methods or registered():
            try:
                against, recipe = (r.to_mapping() for r in recipes(method, column, drawn))
            except (Unfit, wf.WellfitError) as error:
                if known.get((method, column.name)) != _words(error):
                    reasons.append({"column": column.name, "method": method, "reason": _words(error)})
                continue
            tier = tier_of(drawn.problem, Member(wf.Recipe.from_mapping(recipe), RATE, 0))
            left += [j for j in (Job(column.name, seed, epochs, method, against, recipe, tier) for seed in range(arguments.seeds))
                     if j.key not in done]
    return sorted(left, key=lambda j: (j.seed, arguments.columns.index(j.column))), reasons


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def baseline(job: Job, lines: Sequence[Line]) -> Line | None:
    """A training of what the job is compared with that is known already."""
    wanted = [job.column, job.seed, job.epochs, job.against["regularizers"], job.tier]
    return next((line for line in lines if line.get("method") is None and "score" in line
                 and [line["column"], line["seed"], line["epochs"], line["recipe"], line["tier"]] == wanted), None)


def estimate(arguments: argparse.Namespace, left: Sequence[Job], lines: Sequence[Line]) -> float:
    """Print how long the jobs will take; seconds. A column's plain network is timed for one epoch where nothing is known."""
    total, rows = 0.0, []
    for column in arguments.columns:
        mine = [j for j in left if j.column == column]
        if not mine:
            continue
        epochs = mine[0].epochs
        seconds = {tier: _timed(str(arguments.data), column, epochs, tier) for tier in {j.tier for j in mine}}
        times = [seconds[j.tier] * max([DEARER.get(p, 1.0) for p in phases_of(lookup(j.method))], default=1.0) for j in mine]
        times += [seconds[t] for _, _, t in {(j.seed, json.dumps(j.against), j.tier) for j in mine if not baseline(j, lines)}]
        total += (work := sum(times) / arguments.workers)
        rows.append([column, epochs, len(mine), f"{max(seconds.values()):.1f}", f"{work / 60:.1f}"])
    if rows:
        print(table(["column", "epochs", "comparisons", "s for the plain network", "minutes in all"], rows))
    print(f"expected: about {total / 60:.0f} minutes with {arguments.workers} process(es)"
          + ("" if not rows else "; a busy machine takes longer"), flush=True)
    return total


def _timed(folder: str, column: str, epochs: int, tier: str) -> float:
    """Seconds that the plain network takes on a tier of the engine."""
    drawn = drawn_for(folder, column, 0, epochs)
    with _one_thread():
        stack = make_stack(drawn.problem, [Member(wf.Recipe(), RATE, 0)], tier=tier)
        stack.run_epoch(evaluate=False)  # the first one is slower
        began = time.perf_counter()
        stack.run_epoch(evaluate=False)
        epoch = time.perf_counter() - began
    return epoch * epochs + epoch * len(drawn.test) / max(1, 3 * drawn.sizes["train"])


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def work(arguments: argparse.Namespace, left: Sequence[Job], lines: list[Line]) -> list[str]:
    """Do the jobs; every finished one is written at once. Returns what failed."""
    failed, done, began = [], 0, time.monotonic()
    # one job of each baseline first, so that no two processes train the same one
    waves: list[list[Job]] = [[], []]
    for job in left:
        same = any((j.column, j.seed, j.against, j.tier) == (job.column, job.seed, job.against, job.tier) for j in waves[0])
        waves[1 if same or baseline(job, lines) else 0].append(job)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn"), initializer=_quietly) as pool:
        for wave in waves:
            futures = {pool.submit(cell, str(arguments.data), j, baseline(j, lines)): j for j in wave}
            for future in as_completed(futures):
                job, done = futures[future], done + 1
                try:
                    found = future.result()
                except (wf.WellfitError, wf.WellfitWarning, NotImplementedError) as error:
                    found = [{"column": job.column, "method": job.method, "reason": _words(error)}]
                except Exception as error:
                    failed.append(f"{job.method} on {job.column}: {type(error).__name__}: {_words(error)}")
                    found = []
                _append(arguments.out, found)
                lines += found
                minutes = (time.monotonic() - began) / 60
                said = shown({**found[-1], "half": None}) if found and "effect" in found[-1] else "–"
                print(f"{done}/{len(left)}  {minutes:.1f} min  {job.column}  seed {job.seed}  {job.method}  {said}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with manifest.json, mnist, cifar10_a.npz and fsdd")
    parser.add_argument("--columns", type=words, default=list(COLUMNS),
                        help=f"of {', '.join(COLUMNS)}; cifar10_a means both of its sizes (default: all)")
    parser.add_argument("--methods", type=words, help="registry names (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of every training (default: "
                        + ", ".join(f"{c.name} {c.passes}" for c in COLUMNS.values()) + ")")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=RESULTS / "effects.jsonl")
    parser.add_argument("--estimate", action="store_true", help="say how long it will take, and do nothing else")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of a results file, and do nothing else")
    arguments = parser.parse_args()
    if arguments.show:
        show(read(arguments.show))
        return 0
    if arguments.data is None:
        parser.error("--data is missing")
    if arguments.seeds < 1 or arguments.workers < 1:
        parser.error("--seeds and --workers are at least 1")
    arguments.columns = [c for name in arguments.columns for c in COLUMNS if c in (name, f"{name}_100", f"{name}_800")]
    if not arguments.columns:
        parser.error(f"--columns: choose of {', '.join(COLUMNS)}")
    for name in arguments.methods or ():
        lookup(name)
    lines = read(arguments.out)
    left, reasons = jobs(arguments, lines)
    estimate(arguments, left, lines)
    if arguments.estimate:
        return 0
    _append(arguments.out, [{"command": " ".join(_command()), "environment": environment()}, *reasons])
    lines += reasons
    failed = work(arguments, left, lines)
    show(lines)
    return closed(arguments.out, failed)


def _command() -> list[str]:
    """The command as anyone may repeat it: paths of this machine as DIR and file names."""
    shortened = []
    for before, word in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False):
        shortened.append("DIR" if before == "--data" else Path(word).name if before == "--out" else word)
    return ["python benchmarks/effects.py", *shortened]


if __name__ == "__main__":
    sys.exit(main())

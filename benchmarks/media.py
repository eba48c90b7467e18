#!/usr/bin/env python3
"""What does a search gain on few images, and on voices that it has not heard?

For every set and seed two searches of one budget: all that ``wellfit tune`` tries, and weight decay alone. Both, and the
unregularized network of the first, are judged on the same test examples. Images: a draw of the training images per seed, the test
images as they are given. Sounds: whole speakers are held out, other ones with each seed. Intervals are 95% t intervals of paired
differences over seeds; with one seed they are the search's own, over test examples.

Every finished search is one line of a JSON lines file, and the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, closed, cores, environment, half_width, mean, numbers, table, verdict, words
from effect_columns import pick

import wellfit as wf
from wellfit.data import load_images

EXAMPLES = """examples:
  python benchmarks/media.py --data DIR --sets cifar10_a_100 --seeds 0,1,2 --budget 5m
  python benchmarks/media.py --data DIR --seeds 0 --budget 8m --workers 1
  python benchmarks/media.py --show

DIR holds mnist (idx files), cifar10_a.npz (x_train, y_train, x_test, y_test) and fsdd (sounds with a csv that has a column
speaker).
"""
SEARCHES: dict[str, list[str] | None] = {"all": None, "weight decay": ["weight_decay"]}
Line = dict[str, Any]


def images(file: str, per_class: int, data: Path, seed: int, folder: Path) -> dict[str, Any]:
    """An archive of the training images drawn with the seed and all test images."""
    found = load_images(data / file)
    assert isinstance(found.split, dict), f"{file} has no parts of its own"
    rng = np.random.default_rng(seed)
    given, held = found.split["train"], found.split["test"]
    drawn = given[pick(found.labels[given], per_class, rng)]
    path = folder / f"{Path(file).stem}-{per_class}-{seed}.npz"
    np.savez(path, x_train=found.images[drawn], y_train=found.labels[drawn], x_test=found.images[held], y_test=found.labels[held])
    return {"data": path}


def sounds(data: Path, seed: int, folder: Path) -> dict[str, Any]:
    return {"data": data / "fsdd", "group": "speaker"}


@dataclass(frozen=True)
class Set:
    """A set of examples, and what is wanted of the search on it: points above the unregularized network, above weight decay, and a
    test score."""

    given: Callable[[Path, int, Path], dict[str, Any]]
    words: str
    above_none: float | None = None
    above_decay: float | None = None
    score: float | None = None


SETS = {
    "mnist_50": Set(partial(images, "mnist", 50), "MNIST, 50 training images of each digit", score=97.5),
    "cifar10_a_100": Set(partial(images, "cifar10_a.npz", 100), "five classes of CIFAR-10, 100 of each", 10.0, 4.0),
    "cifar10_a_800": Set(partial(images, "cifar10_a.npz", 800), "five classes of CIFAR-10, 800 of each"),
    "fsdd": Set(sounds, "spoken digits, speakers held out", 10.0),
}


def searched(name: str, search: str, seed: int, arguments: argparse.Namespace) -> Line:
    """One search, as a line."""
    runs = arguments.out.with_suffix("")
    runs.mkdir(parents=True, exist_ok=True)
    run = runs / f"{name}-{search.replace(' ', '-')}-{seed}-{arguments.budget}"
    given = SETS[name].given(arguments.data, seed, runs)
    again = {"resume": run} if (run / "run.json").is_file() else {"out": run, "budget": arguments.budget, "overwrite": run.exists()}
    result = wf.tune(**given, seed=seed, regularizers=SEARCHES[search], workers=arguments.workers, progress=False, **again)
    summary = result.summary
    return {"set": name, "search": search, "seed": seed, "budget": arguments.budget, "workers": arguments.workers,
            "without": 100 * summary["unregularized"]["test"], "with": 100 * summary["best"]["test"],
            "ci": [100 * end for end in summary["gain"]["ci"]], "recipe": summary["best"]["recipe"],
            "configurations": summary["cost"]["configurations"], "epochs": summary["cost"]["epochs"],
            "seconds": summary["cost"]["seconds"], "n": summary["n"], "environment": environment(workers=arguments.workers)}


def interval(differences: Sequence[float], alone: Sequence[float] | None = None) -> str:
    """Mean and 95% interval; ``alone`` is that of a single difference, where it is known.

    >>> interval([1.0, 2.0, 3.0]), interval([2.0], [0.5, 3.5]), interval([2.0])
    ('+2.0 [-0.5, +4.5]', '+2.0 [+0.5, +3.5]', '+2.0')
    """
    centre = statistics.fmean(differences)
    if len(differences) > 1:
        half = half_width(differences)
        alone = [centre - half, centre + half]
    return f"{centre:+.1f}" + (f" [{alone[0]:+.1f}, {alone[1]:+.1f}]" if alone is not None else "")


def show(lines: Sequence[Line]) -> None:
    """The table, and the targets."""
    rows, targets = [], []
    for name, of_set in SETS.items():
        for budget in dict.fromkeys(line["budget"] for line in lines if line["set"] == name):
            own = {(line["search"], line["seed"]): line for line in lines if line["set"] == name and line["budget"] == budget}
            full = [line for (search, _), line in sorted(own.items()) if search == "all"]
            pairs = [(line, own["weight decay", line["seed"]]) for line in full if ("weight decay", line["seed"]) in own]
            if not full:
                continue
            gains, over = [x["with"] - x["without"] for x in full], [x["with"] - d["with"] for x, d in pairs]
            rows.append([name, budget, len(full), *(f"{mean([x[k] for x in full]):.1f}" for k in ("without", "with")),
                         f"{mean([d['with'] for _, d in pairs]):.1f}" if pairs else "", interval(gains, full[0]["ci"]),
                         interval(over) if over else ""])
            for target, found, what in ((of_set.above_none, mean(gains), "above the unregularized network"),
                                          (of_set.above_decay, mean(over), "above tuned weight decay"),
                                          (of_set.score, mean([x["with"] for x in full]), "on the test examples")):
                if target is not None:
                    targets.append(verdict(None if math.isnan(found) else found >= target,
                                           f"{name}, {budget}: {found:.1f} {what} (target {target})"))
    print(table(["set", "budget", "seeds", "none", "tuned", "weight decay", "gain", "over weight decay"], rows))
    print("\n" + "\n".join(f"{name}: {SETS[name].words}" for name in dict.fromkeys(r[0] for r in rows)))
    print("\n" + "\n".join(targets))


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", type=words, default=list(SETS), help=f"of {', '.join(SETS)} (default: all)")
    parser.add_argument("--searches", type=words, default=list(SEARCHES), help=f"of {', '.join(SEARCHES)} (default: both)")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="with commas")
    parser.add_argument("--budget", default="5m", help="of each search")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--out", type=Path, default=RESULTS / "media.jsonl")
    parser.add_argument("--show", action="store_true", help="print what is there already")
    arguments = parser.parse_args()
    for given, known, what in ((arguments.sets, SETS, "sets"), (arguments.searches, SEARCHES, "searches")):
        if unknown := [g for g in given if g not in known]:
            parser.error(f"unknown {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    if not arguments.show:
        if arguments.data is None:
            parser.error("--data is missing")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        done = {(line["set"], line["search"], line["seed"], line["budget"]) for line in read(arguments.out)}
        wanted = [(n, search, s) for s in arguments.seeds for n in arguments.sets for search in arguments.searches]
        for name, search, seed in wanted:
            if (name, search, seed, arguments.budget) in done:
                continue
            line = searched(name, search, seed, arguments)
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            found = f"{line['without']:.1f} -> {line['with']:.1f} ({line['seconds']:.0f} s)"
            print(f"{name}, seed {seed}, {search}: {found}", flush=True)
    show(read(arguments.out))
    return 0 if arguments.show else closed(arguments.out, [])


if __name__ == "__main__":
    sys.exit(main())

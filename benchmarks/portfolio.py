#!/usr/bin/env python3
"""Which few configurations should a search begin with? Learned from runs on many tables, judged on tables they did not come from.

1. Candidates: of every run of ``tables.py`` (``--runs``) the best configurations that differ in their methods, and the
   combinations that wellfit begins with today.
2. Every candidate is trained on all folds of every table.
3. A portfolio is grown greedily: whatever brings the best of the portfolio closest to the best of all candidates, in the mean
   over tables. Regret is (best of the portfolio - best of all) / (unregularized - best of all), in the merit that choices rank by,
   at most 1.5 per table.
4. Leave one table out: the portfolio is grown from the other tables, without candidates found on the one left out, and judged on
   it, beside today's combinations, and beside as many candidates drawn at random.

``--out`` then holds ``without-NAME.json`` for ``proposers.py --portfolio``, and ``all.json``, the portfolio of all tables. Step 2
is kept per table, and the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, cores, environment, mean, numbers, read_json, table, words, write_json
from proposers import asked, entries, settled

EXAMPLES = """examples:
  python benchmarks/tables.py --data DIR --budget 3m --out RUNS
  python benchmarks/portfolio.py --data DIR --runs RUNS/runs
  python benchmarks/portfolio.py --show
"""
MOST_REGRET, LEAST_SPAN = 1.5, 0.02  # per table; of the unregularized network's merit
Point = tuple[float, dict[str, dict[str, float]]]


# ---- candidates


def candidates(runs: Path, each: int) -> list[dict[str, Any]]:
    """The best configurations of every run, no two of one run with the same methods; and today's combinations."""
    from wellfit.search.configuration import Configuration
    from wellfit.search.menus import TABLE
    from wellfit.search.space import Space

    space = Space(TABLE)
    out: list[dict[str, Any]] = [{"from": None, "point": [rate, {n: dict(v) for n, v in parts.items()}]}
                                 for rate, parts in TABLE.combinations]
    for run in sorted(p for p in runs.iterdir() if (p / "summary.json").is_file()):
        sign = -1 if read_json(run / "summary.json")["higher_is_better"] else 1
        trials = [json.loads(text) for text in (run / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
        finished = [t for t in trials if not t["pruned"] and t["validation"] is not None and len(t["recipe"]["regularizers"]) > 1]
        seen: set[tuple[str, ...]] = set()
        for trial in sorted(finished, key=lambda t: sign * t["validation"]):
            found = Configuration.from_mapping({**trial["recipe"], "learning_rate": trial["learning_rate"]})
            if len(seen) == each:
                break
            if found.parts in seen or trial["origin"] == "combination":
                continue
            seen.add(found.parts)
            out.append({"from": run.name.rsplit("-seed", 1)[0], "point": strengths(space, found)})
    return out


def strengths(space: Any, configuration: Any) -> Point:
    """A configuration as a learning rate and hyperparameters by method, to three digits."""
    known = space.parameters(configuration)
    picked = [known[c.name] for c in space.choices if known[c.name] != "none"]
    parts = {n: {k.split(".", 1)[1]: float(f"{v:.3g}") for k, v in known.items() if k.startswith(f"{n}.")} for n in picked}
    return float(f"{known['learning_rate']:.2g}"), parts


# ---- every candidate on every table


def measured(job: dict[str, Any]) -> dict[str, Any]:
    """The merit of every candidate on one table, cross-validated, and of the unregularized network."""
    from wellfit.core.recipe import Recipe
    from wellfit.population.pool import Pool
    from wellfit.search.configuration import Configuration
    from wellfit.search.foundation import trainer_for
    from wellfit.search.opening import opened
    from wellfit.search.rundir import RunDirectory
    from wellfit.search.session import space_of

    given = settled(job["entry"], job["budget"], job["seed"])
    prepared, settings = opened(asked(job["entry"], job["seed"], **given))
    prepared = prepared.with_folds(job["seed"], settings.folds)
    space = space_of(prepared, settings, None)
    wanted = [Configuration(Recipe()), *(space.combined(rate, parts) for rate, parts in job["points"])]
    unique = {c.key: c for c in wanted}
    with tempfile.TemporaryDirectory() as folder, Pool(1) as pool:
        trainer = trainer_for(RunDirectory.create(Path(folder) / "run"), prepared, settings, pool, job["seed"], "portfolio")
        outcomes = trainer.evaluate("portfolio", list(unique.values()))
    merits = {key: float(o.merit) for key, (o,) in zip(unique, outcomes, strict=True)}
    return {"name": job["entry"]["name"], "settled": given, "merits": [merits[c.key] for c in wanted],
            "environment": environment(workers=1)}


# ---- portfolios


def regrets(merits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(tables, candidates) regret: 0 is the best of the ``allowed`` candidates, 1 the unregularized network (first column)."""
    plain, own = merits[:, :1], merits[:, 1:]
    own = np.where(np.isfinite(own), own, np.inf)
    best = np.minimum(own[:, allowed].min(axis=1, keepdims=True), plain)
    return np.minimum((own - best) / (plain - best + LEAST_SPAN * np.abs(plain)), MOST_REGRET)


def grown(regret: np.ndarray, allowed: Sequence[int], size: int) -> list[int]:
    """Candidates added one by one, each the one that brings the mean over tables of the smallest regret down most."""
    chosen: list[int] = []
    reached = np.full(len(regret), MOST_REGRET)
    for _ in range(min(size, len(allowed))):
        left = [c for c in allowed if c not in chosen]
        # ties, once all is reached: by what is good everywhere
        winner = min(left, key=lambda c: (np.minimum(reached, regret[:, c]).mean(), regret[:, c].mean()))
        chosen.append(winner)
        reached = np.minimum(reached, regret[:, winner])
    return chosen


def left_out(names: Sequence[str], origins: Sequence[str | None], merits: np.ndarray, size: int) -> dict[str, dict[str, Any]]:
    """For every table the portfolio of the others, and its regret here beside today's and a random one's."""
    rng = np.random.default_rng(0)
    everyone = list(range(len(origins)))
    today = [c for c in everyone if origins[c] is None]
    out = {}
    for t, name in enumerate(names):
        foreign = [c for c in everyone if origins[c] != name]
        others = np.array([i for i in range(len(names)) if i != t])
        chosen = grown(regrets(merits[others], np.array(foreign)), foreign, size)
        here = regrets(merits[t:t + 1], np.array(everyone))[0]
        drawn = [here[rng.choice([c for c in foreign if origins[c] is not None], size, replace=False)].min() for _ in range(200)]
        out[name] = {"chosen": chosen, "learned": float(here[chosen].min()), "today": float(here[today].min()),
                     "random": float(np.mean(drawn)), "own": float(here[[c for c in everyone if origins[c] == name]].min(
                         initial=MOST_REGRET))}
    return out


def shown(found: dict[str, dict[str, Any]], sizes: dict[int, float], today: int) -> str:
    """The regrets table by table, and in the mean."""
    ways = ("learned", "today", "random", "own")
    rows = [[name, *(f"{row[w]:.2f}" for w in ways)] for name, row in found.items()]
    rows.append(["mean", *(f"{mean([row[w] for row in found.values()]):.3f}" for w in ways)])
    text = table(["table left out", "learned on the others", f"today's {today}", "random candidates", "found on it"], rows)
    return text + "\n\nlearned, by size: " + ", ".join(f"{n}: {value:.3f}" for n, value in sizes.items())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with manifest.json and the tables")
    parser.add_argument("--runs", type=Path, help="folder of finished runs named TABLE-seedN")
    parser.add_argument("--each", type=int, default=4, help="candidates of a run (default %(default)s)")
    parser.add_argument("--budget", default="60s", help="whose settings every table is trained with (default %(default)s)")
    parser.add_argument("--only", type=words, help="names of tables (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the splits (default %(default)s)")
    parser.add_argument("--size", type=int, default=12, help="of the portfolio (default %(default)s)")
    parser.add_argument("--sizes", type=numbers, default=[2, 4, 8, 12, 16, 24], help="to print the mean regret of")
    parser.add_argument("--workers", type=int, default=cores(), help="tables side by side, a core each (default: all cores)")
    parser.add_argument("--out", type=Path, default=RESULTS / "portfolio", help="folder of results (default %(default)s)")
    parser.add_argument("--show", action="store_true", help="print what there is and train nothing")
    given = parser.parse_args(arguments)
    kept = given.out / "candidates.json"
    if not kept.is_file():
        if given.runs is None or given.data is None:
            parser.error("--data and --runs are needed to begin with")
        write_json(kept, candidates(given.runs, given.each))
    pool = read_json(kept)
    points = [c["point"] for c in pool]
    if not given.show:
        if given.data is None:
            parser.error("--data is needed to train anything")
        jobs = [{"entry": e, "points": points, "budget": given.budget, "seed": given.seed}
                for e in entries(given.data, given.only) if not (given.out / f"merits-{e['name']}.json").is_file()]
        with multiprocessing.get_context("spawn").Pool(given.workers, maxtasksperchild=1) as processes:
            for row in processes.imap_unordered(measured, jobs):
                write_json(given.out / f"merits-{row['name']}.json", row)
                print(f"{row['name']}: {len(points)} candidates", file=sys.stderr, flush=True)
    rows = [read_json(p) for p in sorted(given.out.glob("merits-*.json"))]
    names, origins = [r["name"] for r in rows], [c["from"] for c in pool]
    if len(rows) < 3:
        print("at least three tables are needed")
        return 1
    merits = np.array([[np.nan if v is None else v for v in r["merits"]] for r in rows], dtype=float)
    found = left_out(names, origins, merits, given.size)
    sizes = {n: mean([row["learned"] for row in left_out(names, origins, merits, n).values()]) for n in given.sizes}
    print(f"{len(rows)} tables, {len(pool)} candidates; regret: 0 the best of all candidates, 1 the unregularized network\n")
    print(shown(found, sizes, sum(o is None for o in origins)))
    for name, row in found.items():
        write_json(given.out / f"without-{name}.json", {"combinations": [points[c] for c in row["chosen"]]})
    everyone = np.arange(len(pool))
    chosen = grown(regrets(merits, everyone), everyone.tolist(), given.size)
    write_json(given.out / "all.json", {"combinations": [points[c] for c in chosen], "from": [origins[c] for c in chosen]})
    print("\nthe portfolio of all tables:")
    for c in chosen:
        print(f"  {points[c][0]:g}  {json.dumps(points[c][1])}   ({origins[c] or 'today'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Does a run that is killed with ``kill -9`` at random moments end as if nothing had happened?

One run with a work budget goes through undisturbed. The same command is then started again in another folder, killed after a
random time, gone on with by ``wellfit tune --resume``, killed again, and so on; a run that ends before all kills are spent is
followed by another. Every finished run must have the summary, the trials, the recipe and the weights of the undisturbed one,
except for times. Exit status 1 if one differs.

The killed process is the one that steers; its workers notice that it is gone and end. Nothing waits for them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import RESULTS, cores, environment, table, verdict, write_json

EXAMPLES = """examples:
  python benchmarks/kill_and_resume.py                                   ten kills on scikit-learn's wines
  python benchmarks/kill_and_resume.py --data churn.csv --target churned --budget 60c --kills 20
"""
EARLY = 0.15  # the share of kills that fall into the start of the program, before it reads or writes the run
DATASETS = ("wine", "breast_cancer", "diabetes", "iris", "digits")


@dataclass
class Kill:
    """One kill: of which run, how long after its (re)start, and what was on disk then."""

    number: int
    run: int
    seconds: float
    trials: int
    jobs: int
    checkpoints: int


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "wellfit", "tune", *map(str, arguments), "--quiet"]


def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    source = Path(__file__).resolve().parents[1] / "src"
    path = os.pathsep.join(p for p in (str(source), os.environ.get("PYTHONPATH", "")) if p)
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, env={**os.environ, "PYTHONPATH": path})


def undisturbed(words: list[str], run: Path, log: Path) -> tuple[float, float]:
    """Seconds until the run stood, and in all."""
    begun = time.monotonic()
    process = start(words, log)
    stood = None
    while process.poll() is None:
        if stood is None and (run / "run.json").is_file():
            stood = time.monotonic() - begun
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the undisturbed run failed with {process.returncode}:\n{log.read_text()}")
    whole = time.monotonic() - begun
    return whole if stood is None else stood, whole


def alive(process: subprocess.Popen[bytes], run: Path, since: int) -> None:
    """Wait until the run writes something, or ends."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if any(path.stat().st_mtime_ns > since for path in run.rglob("*.npz")):
                return
        time.sleep(0.02)


def survey(run: Path) -> tuple[int, int, int]:
    """Trials, finished jobs and checkpoints on disk."""
    trials = (run / "trials.jsonl").read_text().count("\n") if (run / "trials.jsonl").is_file() else 0
    work = run / "work"
    return trials, len(list(work.glob("*.npz"))), len(list(work.rglob("*.safetensors")))


def content(run: Path) -> dict[str, Any]:
    """What a run found, without times."""
    from safetensors.numpy import load_file

    summary = json.loads((run / "summary.json").read_text())
    summary["cost"].pop("seconds")
    trials = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    weights = load_file(run / "best" / "model.safetensors")
    return {"summary.json": summary, "trials.jsonl": [{k: v for k, v in t.items() if k != "seconds"} for t in trials],
            "best/recipe.yaml": (run / "best" / "recipe.yaml").read_text(),
            "best/model.safetensors": {k: v.tobytes().hex() for k, v in weights.items()}}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two plain values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in sorted({*a, *b}) for d in differences(a.get(k), b.get(k), f"{where}.{k}" if where else str(k))]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for n, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{where}[{n}]")]
    return [] if a == b else [f"{where}: {str(a)[:60]} became {str(b)[:60]}"]


def write_example(name: str, folder: Path) -> tuple[Path, str]:
    """A data set of scikit-learn as csv."""
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    return path, "target"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="wine", help=f"a table, or one of {', '.join(DATASETS)} (default %(default)s)")
    parser.add_argument("--target", help="its column to predict")
    parser.add_argument("--budget", default="50c", help="configurations of the run (default %(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of the run (default %(default)s)")
    parser.add_argument("--workers", type=int, default=cores(), help="processes of the run (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="of one training; 0: by the size of the data (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "kill_and_resume.json", help="JSON file (default %(default)s)")
    arguments = parser.parse_args()
    if not arguments.budget.strip().lower().endswith("c"):
        parser.error("--budget must be work, such as 60c: a run on the clock does not repeat")

    with tempfile.TemporaryDirectory(prefix="wellfit-kills-") as name:
        folder = Path(name)
        if arguments.data in DATASETS and not Path(arguments.data).exists():
            data, target = write_example(arguments.data, folder)
        else:
            data, target = Path(arguments.data), arguments.target or parser.error("--target is missing")
        more = ["--epochs", arguments.epochs] if arguments.epochs else []

        def fresh(run: Path) -> list[str]:
            return command(data, "--target", target, "--budget", arguments.budget, "--seed", arguments.seed, "--workers",
                           arguments.workers, "--out", run, *more)

        log = folder / "log.txt"
        stood, whole = undisturbed(fresh(folder / "whole"), folder / "whole", log)
        expected = content(folder / "whole")
        print(f"{data.name}, {arguments.budget}, {arguments.workers} processes: undisturbed {whole:.1f} s, "
              f"{stood:.1f} s of them until training began\n", flush=True)

        drawn = random.Random(arguments.seed)
        kills: list[Kill] = []
        found: list[list[str]] = []
        number = 0
        while len(kills) < arguments.kills or not found:
            number += 1
            run = folder / f"run-{number}"
            while True:
                resume = (run / "run.json").is_file()
                process = start(command("--resume", run, "--workers", arguments.workers) if resume else fresh(run), log)
                begun = time.time_ns()
                wait = drawn.uniform(0.0, (whole - stood) / 3)
                early = drawn.random() < EARLY
                try:
                    if len(kills) < arguments.kills:
                        process.wait(drawn.uniform(0.2, stood)) if early else alive(process, run, begun)
                    process.wait(None if len(kills) >= arguments.kills else 0.0 if early else wait)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    seconds = round((time.time_ns() - begun) / 1e9, 2)
                    kills.append(Kill(len(kills) + 1, number, seconds, *survey(run)))
                    continue
                if process.returncode:
                    raise SystemExit(f"a resumed run failed with {process.returncode}:\n{log.read_text()[-3000:]}")
                break
            found.append(differences(expected, content(run)))

        print(table(["kill", "run", "seconds after start", "trials on file", "jobs done", "stacks with a checkpoint"],
                    [[k.number, k.run, f"{k.seconds:.1f}", k.trials, k.jobs, k.checkpoints] for k in kills]))
        print()
        for position, different in enumerate(found, start=1):
            mine = sum(k.run == position for k in kills)
            print(verdict(not different, f"run {position}: {mine} kills, {len(different)} differences from the undisturbed run"))
            for line in different[:10]:
                print(f"      {line}")
        path = write_json(arguments.out, {
            "benchmark": "kill_and_resume", "environment": environment(), "data": str(arguments.data), "budget": arguments.budget,
            "workers": arguments.workers, "seed": arguments.seed, "undisturbed_seconds": whole, "kills": [asdict(k) for k in kills],
            "differences": found})
        print(f"\nwritten: {path}")
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())

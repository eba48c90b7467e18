"""Run a search, kill it with SIGKILL at drawn moments, resume it, and print what came of it as JSON.

A program of its own (see test_resume.py): it imports everything once and forks a child for every attempt. A moment is an
event of the search: the end of an epoch, or a file about to be put, or just put, in place. Every epoch is checkpointed.

Usage: killed_runs.py TABLE TARGET FOLDER KILLS SEED
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from wellfit.population import train
from wellfit.population.stack import Stack
from wellfit.search.tune import tune

SETTINGS: dict[str, Any] = {"budget": "28c", "epochs": 8, "hidden": (10, 10), "folds": 2, "workers": 1, "progress": False,
                            "regularizers": ("dropout", "weight_decay", "early_stopping", "batch_norm", "mixup")}


class Events:
    """Counts what happens, and kills this process at one of the events."""

    def __init__(self, deadly: int | None):
        self.count, self.deadly = 0, deadly

    def happen(self) -> None:
        self.count += 1
        if self.count == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Any, *, before: bool) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if before:
                self.happen()
            result = function(*args, **kwargs)
            self.happen()
            return result

        return wrapped


def attempt(table: str, target: str, run: Path, deadly: int | None) -> int | None:
    """Start or resume in a child process; the number of its events, or None when it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        events = Events(deadly)
        train.CHECKPOINT_SECONDS = -1.0
        Stack.run_epoch = events.around(Stack.run_epoch, before=False)  # type: ignore[method-assign]
        os.replace = events.around(os.replace, before=True)
        try:
            if (run / "run.json").is_file():
                tune(resume=run, workers=1, progress=False)
            else:
                tune(table, target, out=run, **SETTINGS)
            os.write(writing, str(events.count).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"an attempt failed with {os.waitstatus_to_exitcode(status)}")
    return int(said)


def main(table: str, target: str, folder: Path, kills: int, seed: int) -> None:
    events = attempt(table, target, folder / "whole", None)
    assert events is not None
    drawn = random.Random(seed)
    moments = []
    for _ in range(kills):
        moment = drawn.randint(1, events // 2)  # from its own start on, so that several kills get to the end
        moments.append(moment)
        if attempt(table, target, folder / "killed", moment) is not None:
            break
    attempt(table, target, folder / "killed", None)
    print(json.dumps({"events": events, "moments": moments, **{
        name: {"summary": json.loads((folder / name / "summary.json").read_text()),
               "trials": [json.loads(line) for line in (folder / name / "trials.jsonl").read_text().splitlines()],
               "files": sorted(str(p.relative_to(folder / name)) for p in (folder / name).rglob("*"))}
        for name in ("whole", "killed")}}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))

#!/usr/bin/env python3
"""What does a search find in 10, 30, 60, 180 seconds: `wellfit tune`, or Optuna around a plain PyTorch loop?

Same split, inputs, network, batch size, epochs, cosine schedule, class weights and balanced accuracy: Optuna's side takes them
from wellfit's finished run of the same table, seed and budget. Same space: its objective asks wellfit's search space for its
suggestions (TPE and the median pruner with their defaults) and trains them as a tutorial would: nn.Sequential, DataLoader over
a TensorDataset, torch.optim.AdamW, penalties in the loss, one validation part, balanced accuracy reported after every epoch.

Clocks: wellfit's runs from the call of ``tune`` until the summary is written, with reading, preprocessing, choosing, refitting
and testing. Optuna's begins with the study, on tensors that are ready; preprocessing, retraining the best configuration on
train and validation rows, and testing it are not counted. Neither pays for starting Python and importing torch. Both get the
same cores: one process of one thread on each side, or with --cores 2 two Optuna processes on one journal and ``workers=2``.

Each table and seed is one wellfit run per time mark, and one study for every set of training settings that those runs chose (a
shorter budget may train for fewer epochs). Everything is kept as it is made: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import optuna
import torch
from common import RESULTS, closed, cores, environment, mean, numbers, read_json, shown, spread, table, verdict, words, write_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tables import Entry, entries
from tutorial import OutOfTime, data_of, objective, outputs_of, seed_everything, train, training_of

import wellfit as wf
from wellfit.search.live import Silent

EXAMPLES = """examples:
  python benchmarks/search.py --data DIR                                  all of it: about two hours
  python benchmarks/search.py --data DIR --only credit_g --seeds 0        one cell: about 10 minutes
  python benchmarks/search.py --data DIR --only credit_g --seeds 1 --marks 3,6     does it work?
  python benchmarks/search.py --data DIR --cores 2 --out DIR2
"""
TABLES = ("credit_g", "phoneme", "vehicle", "cnae_9")
COUNTED, TIMES, COUNTED_ON = 60, 50.0, "credit_g"  # seconds, how many times the configurations, where that is the target
SHORT, LONG = 10, 180  # wellfit after SHORT seconds against Optuna after LONG
STUDY = "search"
COLUMNS = {"configurations": "finished or pruned", "beyond_one_epoch": "after more than 1 epoch",
           "completed": "trained to the end", "completed_on_all_folds": "on all folds", "trainings": "trainings",
           "epochs": "epochs"}
Shared = tuple[Any, Any]  # what processes at work together have in common: a barrier, and when their study began


# ---- processes


def in_processes(function: Callable[..., Any], count: int, *arguments: Any) -> list[Any]:
    """The answers of ``count`` fresh processes that do the same at the same time: ``function(shared, number, ...)``.

    They end with this call, whatever ends it.
    """
    context = multiprocessing.get_context("spawn")
    shared = context.Barrier(count, timeout=600), context.Value("d", 0.0)
    answers: dict[Any, Any] = {}
    processes = []
    try:
        for number in range(count):
            here, there = context.Pipe(duplex=False)
            answers[here] = None
            processes.append(context.Process(target=_process, args=(there, function, shared, number, *arguments)))
            processes[-1].start()
            there.close()
        waiting = list(answers)
        while waiting:
            for ready in wait(waiting):
                done, answers[ready] = ready.recv()  # type: ignore[union-attr, index, call-arg]
                if not done:
                    raise RuntimeError(f"a process of this benchmark failed:\n{answers[ready]}")  # type: ignore[index]
                waiting.remove(ready)
        for process in processes:
            process.join(10)
    finally:
        for process in processes:
            process.terminate()
    return list(answers.values())


def _process(connection: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    try:
        answer = True, function(*arguments)
    except BaseException:  # told to the parent, which raises it there
        answer = False, traceback.format_exc()
    connection.send(answer)


# ---- Optuna, in processes of its own


def study_process(shared: Shared, number: int, entry: Entry, run: Path, seconds: float, seed: int, journal: Path | None) -> Any:
    """Optimise for ``seconds``; the trials as this process knows them at the end."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = data_of(entry, run)
    seed_everything(seed + 1000 * number)
    barrier, clock = shared
    barrier.wait()
    began, deadline = datetime.now(), time.monotonic() + seconds
    if number == 0:
        clock.value = began.timestamp()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed + 1000 * number),
                                pruner=optuna.pruners.MedianPruner(), study_name=STUDY, storage=_storage(journal),
                                load_if_exists=journal is not None)
    space = data.space()
    study.optimize(lambda trial: objective(trial, data, space, deadline), timeout=seconds, catch=OutOfTime)
    barrier.wait()  # all trials of the other processes are in the journal
    return [described(t, clock.value, seconds) for t in study.trials if t.datetime_start is not None] if number == 0 else None


def _storage(journal: Path | None) -> Any:
    """In memory, or a journal that processes share."""
    if journal is None:
        return None
    return JournalStorage(JournalFileBackend(str(journal)))


def described(trial: Any, began: float, seconds: float) -> dict[str, Any]:
    """A trial; "under way" is one that the end of the study cut short."""
    ended = math.inf if trial.datetime_complete is None else trial.datetime_complete.timestamp() - began
    state = trial.state.name.lower() if ended <= seconds and trial.state.name in ("COMPLETE", "PRUNED") else "under way"
    return {"number": trial.number, "state": state, "validation": trial.value, "began": trial.datetime_start.timestamp() - began,
            "ended": None if state == "under way" else ended, "trained": len(trial.intermediate_values),
            "epochs": trial.user_attrs.get("epochs"), "params": trial.params}


def at_mark(trials: Sequence[dict[str, Any]], mark: float) -> list[dict[str, Any]]:
    """The trials that had finished or were pruned by then."""
    return [t for t in trials if t["ended"] is not None and t["ended"] <= mark]


def best_at(trials: Sequence[dict[str, Any]], mark: float) -> dict[str, Any] | None:
    """The best finished trial by then; where there is none, the first one, which then was under way."""
    finished = [t for t in at_mark(trials, mark) if t["state"] == "complete"]
    if finished:
        return max(finished, key=lambda t: (t["validation"], -t["number"]))
    return min((t for t in trials if t["began"] <= mark and t["state"] != "pruned"), key=lambda t: t["number"], default=None)


def test_process(shared: Shared, number: int, entry: Entry, run: Path, seed: int, trials: Sequence[dict[str, Any]]) -> Any:
    """Retrain configurations on train and validation rows, each for its epochs; their scores on the test rows."""
    data = data_of(entry, run)
    out = {}
    for trial in trials:
        seed_everything(seed)
        configuration = data.space().suggest(optuna.trial.FixedTrial(trial["params"]))
        model = train(data, configuration, data.development, trial["epochs"] or data.epochs)
        out[trial["number"]] = data.score(outputs_of(model, data.x[data.test]), data.test)
    return out


# ---- wellfit, in a process of its own


class Ear(Silent):
    """Hears when the best score changes."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.heard: list[dict[str, float]] = []

    def score(self, best: str, unregularized: str, configurations: int) -> None:
        self.heard.append({"seconds": time.monotonic() - self.began, "validation": float(best), "configurations": configurations})


def tune_process(shared: Shared, number: int, entry: Entry, run: Path, mark: int, seed: int, workers: int) -> Any:
    """One run: its summary, when which score was reached, and the seconds that the call took."""
    ear = Ear()
    result = wf.tune(entry.path, entry.target, budget=f"{mark}s", out=run, seed=seed, task=entry.task, group=entry.group,
                     overwrite=run.exists(), progress=ear, workers=workers)
    return result.summary, ear.heard, time.monotonic() - ear.began


def tuned(entry: Entry, run: Path, mark: int, seed: int, workers: int) -> dict[str, Any]:
    """What is kept of a run."""
    began = time.perf_counter()
    [(summary, heard, seconds)] = in_processes(tune_process, 1, entry, run, mark, seed, workers)
    elapsed = time.perf_counter() - began
    best, ensemble = summary["best"], summary["ensemble"]
    return {"metric": summary["metric"], "training": training_of(run), "folds": summary["selection"]["folds"],
            **tried(run), "epochs": summary["cost"]["epochs"], "cost": summary["cost"],
            "seconds": seconds, "process_seconds": elapsed, "validation": best["validation"], "over_time": heard,
            "test": {"tuned": best["test"], "ensemble": best["test"] if ensemble["test"] is None else ensemble["test"],
                     "unregularized": summary["unregularized"]["test"]},
            "ensemble_members": ensemble["members"], "recipe": [p["name"] for p in best["recipe"]["regularizers"]],
            "engine": read_json(run / "run.json")["engine"], "environment": environment()}


def tried(run: Path) -> dict[str, int]:
    """How many different configurations a run trained, how far, and in how many trainings.

    A configuration that was screened on one fold and then trained on all is one configuration.
    """
    trials, screened = (lines_of(run / name) for name in ("trials.jsonl", "screened.jsonl"))
    screened = [row for row in screened if row["epochs"] >= 1]  # the others were never begun
    reached: dict[str, float] = {}
    whole = {key_of(row) for row in trials if not row["pruned"]}
    for row in (*trials, *screened):
        epochs = row["epochs"] if row["pruned"] else math.inf
        reached[key_of(row)] = max(epochs, reached.get(key_of(row), 0))
    return {"configurations": len(reached), "completed": sum(e == math.inf for e in reached.values()),
            "completed_on_all_folds": len(whole), "after_one_epoch": sum(e <= 1 for e in reached.values()),
            "trainings": sum(row["folds"] for row in trials) + len(screened), "screened": len(screened)}


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Rows of JSON, numbers to six digits: one configuration may have gone through two notations."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [json.loads(line, parse_float=lambda number: float(f"{float(number):.6g}")) for line in text.splitlines()]


def key_of(row: dict[str, Any]) -> str:
    return json.dumps([row["recipe"], row["learning_rate"]], sort_keys=True)


# ---- one table with one seed


def same(training: dict[str, Any]) -> str:
    """The name of a set of training settings."""
    hidden = "-".join(map(str, training["hidden"]))
    return f"{hidden}, {training['epochs']} epochs of batches of {training['batch_size']}, {training['encoding']} inputs"


def run_cell(entry: Entry, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one table with one seed, from its file where it is there already."""
    key = f"{entry.name}-seed{seed}-cores{arguments.cores}"
    file, runs = arguments.out / f"{key}.json", arguments.out / "runs" / key
    record = read_json(file) if file.is_file() else {"name": entry.name, "seed": seed, "cores": arguments.cores, "wellfit": {},
                                                     "optuna": {}}
    for mark in arguments.marks:
        if str(mark) not in record["wellfit"]:
            say(f"{key}: wellfit, {mark} s")
            record["wellfit"][str(mark)] = tuned(entry, runs / f"{mark}s", mark, seed, arguments.cores)
            write_json(file, record)
    longest = max(arguments.marks)
    for mark in sorted(arguments.marks, reverse=True):
        name = same(record["wellfit"][str(mark)]["training"])
        study = record["optuna"].get(name)
        if study is None or study["seconds"] < mark:
            say(f"{key}: optuna, {mark} s ({name})")
            record["optuna"][name] = study = studied(entry, runs / f"{mark}s", mark, seed, arguments.cores)
            write_json(file, record)
        marks = arguments.marks if mark == longest else [mark]
        if any(str(m) not in study["test"] for m in marks):
            say(f"{key}: retraining optuna's best")
            study["test"] |= tested(entry, runs / f"{mark}s", seed, study["trials"], marks)
            write_json(file, record)
    return record


def studied(entry: Entry, run: Path, mark: int, seed: int, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        journal = Path(scratch) / "journal.log" if count > 1 else None
        trials = in_processes(study_process, count, entry, run, mark, seed, journal)[0]
    return {"seconds": mark, "training": training_of(run), "trials": trials, "test": {}, "environment": environment()}


def tested(entry: Entry, run: Path, seed: int, trials: Sequence[dict[str, Any]], marks: Sequence[int]) -> dict[str, Any]:
    """Per mark, the test score of the best configuration so far, trained again on all development rows."""
    best = {mark: best_at(trials, mark) for mark in marks}
    unique = {t["number"]: t for t in best.values() if t is not None}
    [scores] = in_processes(test_process, 1, entry, run, seed, list(unique.values())) if unique else [{}]
    return {str(mark): None if t is None else {"number": t["number"], "test": scores[t["number"]], "validation": t["validation"],
                                               "complete": t in at_mark(trials, mark)} for mark, t in best.items()}


def say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)


# ---- what was found


def study_of(record: dict[str, Any], mark: int) -> dict[str, Any]:
    """The study with the training settings of wellfit's run of this budget."""
    return record["optuna"][same(record["wellfit"][str(mark)]["training"])]  # type: ignore[no-any-return]


def counted(record: dict[str, Any], mark: int) -> dict[str, Any]:
    """Configurations until a mark on both sides, and how many times more they are."""
    mine, trials = record["wellfit"][str(mark)], at_mark(study_of(record, mark)["trials"], mark)
    done = sum(t["state"] == "complete" for t in trials)
    theirs = {"configurations": len(trials), "completed": done, "completed_on_all_folds": done, "trainings": len(trials),
              "epochs": sum(t["trained"] for t in trials),
              "after_one_epoch": sum(t["state"] == "pruned" and t["trained"] <= 1 for t in trials)}
    kept = {k: mine[k] for k in theirs}
    for side in (kept, theirs):
        side["beyond_one_epoch"] = side["configurations"] - side["after_one_epoch"]
    return {"wellfit": kept, "optuna": theirs, "folds": mine["folds"], "training": mine["training"],
            "times": {k: kept[k] / max(theirs[k], 1) for k in COLUMNS}}


def scores_at(record: dict[str, Any], mark: int, longest: int) -> dict[str, float | None]:
    """Test scores at a mark."""
    own, long = (study_of(record, m)["test"].get(str(mark)) for m in (mark, longest))
    test = record["wellfit"][str(mark)]["test"]
    return {"optuna": None if long is None else long["test"], "optuna, same training": None if own is None else own["test"],
            "wellfit": test["tuned"], "wellfit, ensemble": test["ensemble"], "unregularized": test["unregularized"]}


def validation_at(record: dict[str, Any], mark: int, longest: int) -> dict[str, float | None]:
    """The best validation score known at a mark within the longest runs."""
    heard = [h["validation"] for h in record["wellfit"][str(longest)]["over_time"] if h["seconds"] <= mark]
    done = [t["validation"] for t in at_mark(study_of(record, longest)["trials"], mark) if t["state"] == "complete"]
    return {"optuna": max(done, default=None), "wellfit": heard[-1] if heard else None}


def averaged(rows: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """Means over seeds; None where a seed has none."""
    return {k: mean([r[k] for r in rows]) if all(r[k] is not None for r in rows) else None for k in rows[0]}  # type: ignore[misc]


def percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def summarise(records: Sequence[dict[str, Any]], marks: Sequence[int]) -> dict[str, Any]:
    count_at, longest = (COUNTED if COUNTED in marks else max(marks)), max(marks)
    names = list(dict.fromkeys(r["name"] for r in records))
    own = {name: [r for r in records if r["name"] == name] for name in names}
    counts = {name: [counted(r, count_at) for r in rows] for name, rows in own.items()}
    tests = {name: {str(m): averaged([scores_at(r, m, longest) for r in rows]) for m in marks} for name, rows in own.items()}
    curves = {name: {str(m): averaged([validation_at(r, m, longest) for r in rows]) for m in marks} for name, rows in own.items()}
    return {"count_at": count_at, "longest": longest, "counts": counts, "test": tests, "validation": curves,
            "targets": targets(own, counts, count_at, marks)}


def targets(own: dict[str, list[dict[str, Any]]], counts: dict[str, list[dict[str, Any]]], count_at: int,
            marks: Sequence[int]) -> list[dict[str, Any]]:
    """The targets, with what was measured; ``reached`` is None where the time marks or tables do not include them."""
    out: list[dict[str, Any]] = []
    text = f"{COUNTED_ON}: at least {TIMES:g} times Optuna's configurations in {COUNTED} s"
    if COUNTED_ON in counts and count_at == COUNTED:
        times = {k: spread([c["times"][k] for c in counts[COUNTED_ON]]) for k in COLUMNS}
        beside = ("beyond_one_epoch", "completed", "completed_on_all_folds", "epochs")
        rest = "; ".join(f"{COLUMNS[k]} {shown(times[k])}" for k in beside)
        out.append({"text": f"{text}: {shown(times['configurations'])}; {rest}",
                    "reached": times["configurations"]["median"] >= TIMES})
    else:
        out.append({"text": text, "reached": None})
    for side, what in (("wellfit", "the tuned network"), ("wellfit, ensemble", "the tuned ensemble")):
        text = f"{what} after {SHORT} s at or above Optuna after {LONG} s"
        if not {SHORT, LONG} <= set(marks) or max(marks) != LONG:
            out.append({"text": text, "reached": None})
            continue
        every = []
        for name, records in own.items():
            pairs = [(scores_at(r, SHORT, LONG)[side], scores_at(r, LONG, LONG)["optuna"]) for r in records]
            if any(a is None or b is None for a, b in pairs):
                out.append({"text": f"{name}: {text}", "reached": None})
                continue
            gains = [a - b for a, b in pairs]  # type: ignore[operator]
            every.append(mean(gains))
            error = f" ± {100 * statistics.stdev(gains) / math.sqrt(len(gains)):.1f}" if len(gains) > 1 else ""
            out.append({"text": f"{name}: {text}: {percent(mean([a for a, _ in pairs]))} against "  # type: ignore[misc]
                                f"{percent(mean([b for _, b in pairs]))}, {100 * mean(gains):+.1f}{error}",  # type: ignore[misc]
                        "reached": mean(gains) >= 0})
        if len(own) > 1:
            out.append({"text": f"mean of {len(every)} tables: {text}: {100 * mean(every):+.1f}",
                        "reached": mean(every) >= 0 if len(every) == len(own) else None})
    return out


def print_summary(found: dict[str, Any], records: Sequence[dict[str, Any]]) -> None:
    count_at, longest = found["count_at"], found["longest"]
    print(f"\nCONFIGURATIONS IN {count_at} S (different ones, on one fold or more; trainings: every fold is one; epochs: in "
          "wellfit repeats and refits included). Means over seeds; times: median (smallest to largest) over seeds\n")
    rows = []
    for name, every in found["counts"].items():
        for side in ("wellfit", "optuna"):
            rows.append([f"{name}, {side}", *(f"{mean([c[side][k] for c in every]):,.0f}" for k in COLUMNS)])
        rows.append([f"{name}, times", *(shown(spread([c["times"][k] for c in every])) for k in COLUMNS)])
    print(table(["", *COLUMNS.values()], rows))
    for name, every in found["counts"].items():
        settings = {f"{same(c['training'])}; folds in wellfit: {c['folds']}" for c in every}
        print(f"{name}: " + " | ".join(sorted(settings)))

    print(f"\nTEST SCORE (balanced accuracy in %, mean over seeds). optuna: one study of {longest} s; same training: a study with "
          "the epochs and inputs of the wellfit run of that budget\n")
    columns = ("optuna", "optuna, same training", "wellfit", "wellfit, ensemble", "unregularized")
    rows = [[f"{name}, {mark} s", *(percent(value[c]) for c in columns)]
            for name, marks in found["test"].items() for mark, value in marks.items()]
    print(table(["", *columns], rows))
    early = sum(t is not None and not t["complete"] for r in records for s in r["optuna"].values() for t in s["test"].values())
    if early:
        print(f"{early} of Optuna's scores are of its first configuration, which was not finished then: it is trained to the end")

    print(f"\nBEST VALIDATION SCORE OVER TIME within the runs of {longest} s (not on the same rows: wellfit's is cross-validated "
          "where it has folds, Optuna's is the largest on one part)\n")
    rows = [[f"{name}, {mark} s", percent(value["optuna"]), percent(value["wellfit"])]
            for name, marks in found["validation"].items() for mark, value in marks.items()]
    print(table(["", "optuna", "wellfit"], rows))
    late = [(r["name"], m, w["seconds"]) for r in records for m, w in r["wellfit"].items() if w["seconds"] > 1.05 * float(m)]
    if late:
        print("\nwellfit over its budget: " + "; ".join(f"{n}, {m} s took {s:.1f}" for n, m, s in late))
    print("\nTARGETS\n")
    for target in found["targets"]:
        print(verdict(target["reached"], target["text"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json and the tables")
    parser.add_argument("--only", type=words, default=list(TABLES), help=f"classification tables (default {','.join(TABLES)})")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="of splits and searches (default 0,1,2)")
    parser.add_argument("--marks", type=numbers, default=[10, 30, 60, 180], help="budgets in seconds (default 10,30,60,180)")
    parser.add_argument("--cores", type=int, default=1, help="that each side uses (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "search", help="folder of results and runs (default %(default)s)")
    arguments = parser.parse_args()
    arguments.marks = sorted(set(arguments.marks))
    if not arguments.marks or arguments.marks[0] < 1 or not arguments.seeds or not 1 <= arguments.cores <= cores():
        parser.error(f"--marks are whole seconds, --seeds are needed, and --cores is 1 to {cores()}")
    chosen = entries(arguments.data, arguments.only)
    if wrong := [e.name for e in chosen if e.task == "regression"]:
        parser.error(f"the loop here is written for classes; {', '.join(wrong)} has none")

    settings = environment(cores_used=arguments.cores)
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # of all processes started from here
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-arguments.cores:])
    print(f"{settings['cpu']}, {arguments.cores} of {settings['cores']} cores, torch {settings['versions']['torch']}, optuna "
          f"{settings['versions']['optuna']}\n")
    records, failed = [], []
    for seed in arguments.seeds:
        for entry in chosen:
            try:
                records.append(run_cell(entry, seed, arguments))
            except Exception as error:  # one cell must not cost the others; a second call tries it again
                traceback.print_exc()
                failed.append(f"{entry.name} (seed {seed}): {type(error).__name__}")
    if not records:
        return 1
    found = summarise(records, arguments.marks)
    print_summary(found, records)
    path = write_json(arguments.out / "summary.json", {"benchmark": "search", "environment": settings, "marks": arguments.marks,
                                                       "seeds": arguments.seeds, "failed": failed, **found})
    return closed(path, failed)


if __name__ == "__main__":
    sys.exit(main())

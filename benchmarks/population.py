#!/usr/bin/env python3
"""How fast is a population: many configurations of one network, trained as one stacked computation?

Measured in µs per configuration-step (one optimizer step of one configuration), dropout on, against what people write:

  (a)  Optuna ask/tell around a plain PyTorch loop: DataLoader over a TensorDataset, nn.Dropout, torch.optim.AdamW
  (b)  the same with the tensors in memory, batches by permutation, and the fused AdamW

Same networks, same data, same number of steps, no evaluation anywhere; the alternatives take turns, round after round, and
ratios are taken within a round. With one thread the time is that of the steps alone (ask and tell included, building the
network not). With two, the population is ``population.pool.Pool(2)`` with everything it does (building the stacks included,
in stacks of the size it chooses itself), against two processes that each train a configuration by (a) or (b), and against
one process with two torch threads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, environment, numbers, shown, spread, table, verdict, words, write_json
from torch import Tensor, nn

import wellfit as wf
from wellfit.population.network import NetworkSpec
from wellfit.population.pool import Pool
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.population.reference import ReferenceStack as Stack
from wellfit.population.train import plan_stacks, stack_size

EXAMPLES = """examples:
  python benchmarks/population.py                       all networks, one and two threads
  python benchmarks/population.py --quick               two networks, 3 rounds: about a minute
  python benchmarks/population.py --threads 1 --networks small-32 --members 1,2,4,8,16,32,64
"""


@dataclass(frozen=True)
class Case:
    """A network and how long it is trained in one measurement."""

    key: str
    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    batch: int
    epoch_steps: int
    epochs: int
    largest: int = 64  # members in one stack at most

    @property
    def name(self) -> str:
        hidden = "-".join(map(str, self.hidden)) if len(self.hidden) <= 3 else f"{len(self.hidden)}x{self.hidden[0]}"
        return f"{self.inputs}-{hidden}-{self.outputs}"

    @property
    def steps(self) -> int:
        return self.epoch_steps * self.epochs

    def problem(self) -> Problem:
        inputs, targets = data(self)
        rows = torch.arange(len(inputs))
        return Problem(NetworkSpec(self.inputs, self.hidden, self.outputs), inputs, targets, (Fold(rows, rows[:0]),),
                       Objective("multiclass", "accuracy"), self.epochs, self.batch, probe_rows=1)


CASES = (
    Case("small-32", 20, (64, 64), 2, 32, 32, 10),
    Case("small-128", 20, (64, 64), 2, 128, 32, 6),
    Case("middle-32", 50, (256, 256, 256), 10, 32, 32, 3, 32),
    Case("middle-128", 50, (256, 256, 256), 10, 128, 16, 3, 32),
    Case("deep-128", 100, (512,) * 9, 10, 128, 16, 2, 4),
)

# network, members ("auto": what the engine chooses), slower alternative, at least so many times, with how many threads
TARGETS: tuple[tuple[str, int | str, str, float, int], ...] = (
    ("small-32", 32, "b", 8.0, 1),
    ("small-32", 32, "a", 14.0, 1),
    ("middle-32", "auto", "b", 2.0, 1),
    ("middle-32", "auto", "b", 2.0, 2),
)


@cache
def data(case: Case) -> tuple[Tensor, Tensor]:
    """Random rows; as many as an epoch of whole batches needs."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(case.batch * case.epoch_steps, case.inputs, generator=generator)
    targets = (inputs @ torch.randn(case.inputs, case.outputs, generator=generator)).argmax(1)
    return inputs, targets


# ---- what people write


def network(case: Case, rate: float) -> nn.Sequential:
    widths = (case.inputs, *case.hidden)
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers, nn.Linear(case.hidden[-1], case.outputs))


@cache
def study() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize")


def plain(case: Case, alternative: str) -> float:
    """Seconds that one configuration takes by (a) or (b)."""
    inputs, targets = data(case)
    began = time.perf_counter()
    trial = study().ask()
    rate, dropout = trial.suggest_float("learning_rate", 2e-4, 2e-2, log=True), trial.suggest_float("dropout", 0.05, 0.5)
    seconds = time.perf_counter() - began
    model, criterion = network(case, dropout), nn.CrossEntropyLoss()
    model.train()
    began = time.perf_counter()
    train = train_with_loader if alternative == "a" else train_in_memory
    loss = train(case, model, criterion, rate, inputs, targets)
    study().tell(trial, loss)
    return seconds + time.perf_counter() - began


def train_with_loader(case: Case, model: nn.Module, criterion: nn.Module, rate: float, inputs: Tensor,
                      targets: Tensor) -> float:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=case.batch, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    loss = torch.tensor(0.0)
    for _ in range(case.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
    return loss.item()


def train_in_memory(case: Case, model: nn.Module, criterion: nn.Module, rate: float, inputs: Tensor,
                    targets: Tensor) -> float:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    loss = torch.tensor(0.0)
    for _ in range(case.epochs):
        for rows in torch.randperm(len(inputs)).split(case.batch):
            optimizer.zero_grad()
            loss = criterion(model(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    return loss.item()


def in_processes(case: Case, alternative: str, processes: Any) -> float:
    """Seconds until every process has trained one configuration."""
    began = time.perf_counter()
    processes.starmap(plain, [(case, alternative)] * processes._processes, chunksize=1)
    return time.perf_counter() - began


# ---- the population


def members(count: int) -> list[Member]:
    """Configurations that differ in learning rate, dropout rate and seed."""
    return [Member(wf.Recipe(wf.Dropout(0.05 + 0.45 * k / count)), 2e-4 * 100 ** (k / count), seed=k) for k in range(count)]


def population(case: Case, count: int) -> float:
    """Seconds that the steps of ``count`` configurations take in one stack."""
    stack = Stack(case.problem(), members(count))
    began = time.perf_counter()
    for _ in range(case.epochs):
        stack.run_epoch(evaluate=False)
    return time.perf_counter() - began


def in_pool(case: Case, count: int, pool: Pool) -> float:
    """Seconds that ``count`` configurations take in the engine's own processes and stacks."""
    problem, wanted = case.problem(), dict(enumerate(members(count)))
    began = time.perf_counter()
    pool.train(case.key, problem, wanted)
    return time.perf_counter() - began


# ---- measuring


@dataclass(frozen=True)
class Way:
    """One alternative: what it is called, how many configurations it trains, and how."""

    name: str
    configurations: int
    run: Callable[[], float]
    members: int | None = None
    threads: int = 1  # of torch, in this process


def measure(case: Case, ways: Sequence[Way], rounds: int) -> dict[str, list[float]]:
    """µs per configuration-step of every way, round after round."""
    found: dict[str, list[float]] = {w.name: [] for w in ways}
    for turn in range(rounds + 1):
        for way in ways:
            torch.set_num_threads(way.threads)
            seconds = way.run()
            if turn:  # the first round warms up
                found[way.name].append(1e6 * seconds / (case.steps * way.configurations))
    torch.set_num_threads(1)
    return found


def counts(case: Case, wanted: Sequence[int]) -> list[int]:
    """Sizes of stacks to measure: those asked for, within what the network allows, and the engine's own choice."""
    return sorted({min(k, case.largest) for k in wanted} | {stack_size(case.problem())})


def one_thread_ways(case: Case, wanted: Sequence[int]) -> list[Way]:
    ways = [Way("a", 1, lambda: plain(case, "a")), Way("b", 1, lambda: plain(case, "b"))]
    return ways + [Way(f"population of {k}", k, lambda k=k: population(case, k), k) for k in counts(case, wanted)]  # type: ignore[misc]


def two_thread_ways(case: Case, wanted: Sequence[int], processes: Any, pool: Pool) -> list[Way]:
    count = 2 * max(min(k, case.largest) for k in wanted)
    return [Way("a", 2, lambda: in_processes(case, "a", processes)), Way("b", 2, lambda: in_processes(case, "b", processes)),
            Way("a-2t", 1, lambda: plain(case, "a"), threads=2),
            Way("b-2t", 1, lambda: plain(case, "b"), threads=2),
            Way(f"population of {count}", count, lambda: in_pool(case, count, pool), count)]


def report(case: Case, threads: int, ways: Sequence[Way], found: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One entry per population: its time and how many times faster it is than each alternative, round by round."""
    others = [w for w in ways if w.members is None]
    rows = []
    for way in ways:
        times = spread(found[way.name])
        row: dict[str, Any] = {"network": case.key, "shape": case.name, "batch": case.batch, "threads": threads,
                               "way": way.name, "members": way.members, "steps": case.steps, "microseconds": times,
                               "per_second": 1e6 / times["median"], "rounds": found[way.name]}
        if way.members is not None:
            row["auto"] = way.members == stack_size(case.problem()) or threads > 1
            row["times"] = {o.name: spread([slow / fast for slow, fast in zip(found[o.name], found[way.name], strict=True)])
                            for o in others}
            if threads > 1:
                row["stacks"] = [len(s) for s in plan_stacks(case.problem(), dict(enumerate(members(way.members))))]
        rows.append(row)
    return rows


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    others = [r["way"] for r in rows if r["members"] is None]
    cells = []
    for row in rows:
        name = row["way"] + (" (the engine's choice)" if row["threads"] == 1 and row.get("auto") else "")
        cells.append([name, shown(row["microseconds"]), f"{row['per_second']:,.0f}",
                      *(shown(row["times"][o]) if "times" in row else "" for o in others)])
    print(table([f"{rows[0]['shape']}, batch {rows[0]['batch']}", "µs per configuration-step", "per second",
                 *(f"times ({o})" for o in others)], cells))
    for row in rows:
        if "stacks" in row:
            print(f"stacks of {row['way']}: {', '.join(map(str, row['stacks']))}")
    print(flush=True)


def judged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The targets, with what was measured."""
    out = []
    for key, count, other, factor, threads in TARGETS:
        row = next((r for r in rows if r["network"] == key and r["threads"] == threads and "times" in r
                    and (r["auto"] if count == "auto" else r["members"] == count)), None)
        reached = None if row is None else row["times"][other]["median"] >= factor
        size = "" if row is None else f" {row['members']} members," if threads == 1 else f" {row['way']},"
        text = f"{key}:{size} {threads} thread{'s' * (threads > 1)}: at least {factor:g} times ({other})"
        out.append({"text": text + ("" if row is None else f", measured {shown(row['times'][other])}"), "reached": reached})
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=words, help=f"of {', '.join(c.key for c in CASES)} (default: all)")
    parser.add_argument("--members", type=numbers, default=[1, 8, 32], help="sizes of stacks (default 1,8,32; fewer where that "
                                                                            "would take long)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="1, 2 or 1,2 (default 1,2)")
    parser.add_argument("--rounds", type=int, default=5, help="how often every alternative is measured (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small-32 and middle-32, 3 rounds, a third of the steps")
    parser.add_argument("--out", type=Path, default=RESULTS / "population.json", help="JSON file (default %(default)s)")
    arguments = parser.parse_args()
    known = {c.key: c for c in CASES}
    unknown = sorted(set(arguments.networks or ()) - set(known))
    if unknown:
        parser.error(f"unknown network {', '.join(unknown)}; known are {', '.join(known)}")
    if not arguments.threads or not set(arguments.threads) <= {1, 2} or min(*arguments.members, arguments.rounds, 2) < 1:
        parser.error("--threads is 1, 2 or 1,2; members and rounds are at least 1")
    cases = [known[k] for k in arguments.networks or (("small-32", "middle-32") if arguments.quick else known)]
    if arguments.quick:
        arguments.rounds = min(arguments.rounds, 3)
        cases = [replace(c, epochs=max(1, c.epochs // 3)) for c in cases]

    torch.set_num_threads(1)
    settings = environment(rounds=arguments.rounds, quick=arguments.quick)
    print(f"{settings['cpu']}, {settings['cores']} cores, torch {settings['versions']['torch']}, {arguments.rounds} rounds; "
          "median (smallest to largest)\n")
    rows: list[dict[str, Any]] = []
    if 1 in arguments.threads:
        print("ONE THREAD\n")
        for case in cases:
            ways = one_thread_ways(case, arguments.members)
            rows += (new := report(case, 1, ways, measure(case, ways, arguments.rounds)))
            print_rows(new)
    if 2 in arguments.threads:
        print("TWO THREADS: (a) and (b) in two processes of one thread each; (a-2t) and (b-2t) in one process with two\n")
        context = multiprocessing.get_context("spawn")
        with context.Pool(2, initializer=torch.set_num_threads, initargs=(1,)) as processes, Pool(2) as pool:
            for case in cases:
                ways = two_thread_ways(case, arguments.members, processes, pool)
                rows += (new := report(case, 2, ways, measure(case, ways, arguments.rounds)))
                print_rows(new)
    targets = judged(rows)
    for target in targets:
        print(verdict(target["reached"], target["text"]))
    path = write_json(arguments.out, {"benchmark": "population", "environment": settings, "targets": targets, "rows": rows})
    print(f"\nwritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

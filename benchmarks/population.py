#!/usr/bin/env python3
"""How fast is a population: many configurations of one network, trained by one engine?

Measured in µs per configuration-step (one optimizer step of one configuration), dropout on, against what people write:

  (a)      Optuna ask/tell around a plain PyTorch loop: DataLoader over a TensorDataset, nn.Dropout, torch.optim.AdamW
  (b)      the same with the tensors in memory, batches by permutation, and the fused AdamW
  stacked  the reference tier: tensors of K configurations, K as the engine chooses it
  native   the compiled tier, K configurations in one stack

Same networks, same data, same number of steps, no evaluation anywhere; the alternatives take turns, round after round, and
ratios are taken within a round. The time is that of the steps alone: ask and tell are included, building the network or the
stack is not. With two threads the native stack shares its configurations out over both, against two processes that each
train a configuration by (a) or (b), and against one process with two torch threads (a-2t, b-2t); beside it stands the whole
engine, ``population.pool.Pool(2)`` with everything it does, building the stacks included.

GFLOP/s count a step as 6 · parameters · batch, less the gradient of the first layer's inputs, 2 · inputs · units · batch,
which nobody computes. The peak they are compared with is the best ``torch.mm`` of square float32 matrices on as many
threads, measured before each network; the best so far counts.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, cores, environment, numbers, shown, spread, table, verdict, words, write_json
from population_cases import BATCHES, CASES, NETWORKS, Case, data, members
from population_memory import STATUS, TINY_CONFIGURATIONS, measure_memory, report_memory
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from wellfit.population.native import library
from wellfit.population.pool import Pool
from wellfit.population.tiers import make_stack
from wellfit.population.train import plan_stacks, stack_size

EXAMPLES = """examples:
  python benchmarks/population.py                       all networks and batches, one and two threads
  python benchmarks/population.py --quick               two networks at batch 32, 3 rounds: about a minute
  python benchmarks/population.py --threads 1 --networks small --batches 32 --members 1,2,4,8,16,32,64,128
  python benchmarks/population.py --tiers reference     without the compiled engine
  python benchmarks/population.py --device cuda         (b), stacks and recorded stacks on the graphics card
  python benchmarks/population.py --memory              memory instead of time
"""


MEMBERS = (1, 8, 32, 128)
AT_LEAST = 5e9  # floating-point operations to time: a stack with less to do is followed by others
PAIRED = 32  # members at most where two threads are measured


@dataclass(frozen=True)
class Target:
    """At least ``factor`` times faster than ``other``.

    ``members`` None: as many as the engine would choose, or next to it. ``product``: of whichever tier the product uses.
    """

    case: str
    members: int | None
    other: str
    factor: float
    threads: int = 1
    product: bool = False


TARGETS = (
    Target("small-32", 32, "b", 40.0),
    Target("small-32", 1, "b", 30.0),
    Target("small-32", 32, "a", 70.0),
    Target("small-128", 32, "b", 18.0),
    Target("middle-32", 32, "b", 5.0),
    Target("middle-128", 32, "b", 4.0),
    Target("deep-128", 8, "b", 1.8),
    Target("small-32", 32, "b", 8.0, product=True),
    Target("small-32", 32, "a", 14.0, product=True),
    Target("middle-32", None, "b", 2.0, product=True),
    Target("middle-32", None, "b", 2.0, threads=2, product=True),
)


def clock(device: str = "cpu") -> float:
    """Now, in seconds, once the device has done what it was asked to."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


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


def plain(case: Case, alternative: str, device: str = "cpu") -> float:
    """Seconds that one configuration takes by (a) or (b)."""
    inputs, targets = data(case, device)
    began = time.perf_counter()
    trial = study().ask()
    rate, dropout = trial.suggest_float("learning_rate", 2e-4, 2e-2, log=True), trial.suggest_float("dropout", 0.05, 0.5)
    seconds = time.perf_counter() - began
    model, criterion = network(case, dropout).to(device), nn.CrossEntropyLoss()
    model.train()
    began = clock(device)
    train = train_with_loader if alternative == "a" else train_in_memory
    loss = train(case, model, criterion, rate, inputs, targets)
    study().tell(trial, loss)
    return seconds + clock(device) - began


def train_with_loader(case: Case, model: nn.Module, criterion: nn.Module, rate: float, inputs: Tensor,
                      targets: Tensor) -> float:
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=case.batch, shuffle=True)
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
        for rows in torch.randperm(len(inputs), device=inputs.device).split(case.batch):
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


def population(case: Case, tier: str, count: int, total: int, threads: int = 1, device: str = "cpu") -> float:
    """Seconds that the steps of ``total`` configurations take in stacks of ``count``, one stack after the other."""
    problem, everyone, seconds = case.problem(tier, device), members(total), 0.0
    for start in range(0, total, count):
        stack = make_stack(problem, everyone[start:start + count], tier=tier, threads=threads)
        if device != "cpu":  # kernels are compiled, and a step is recorded, once for all epochs
            stack.run_epoch(evaluate=False)
        began = clock(device)
        for _ in range(case.epochs):
            stack.run_epoch(evaluate=False)
        seconds += clock(device) - began
    return seconds


def in_pool(case: Case, tier: str, count: int, pool: Pool) -> float:
    """Seconds that ``count`` configurations take in the engine's own stacks, on its own threads or processes."""
    problem, wanted = case.problem(tier), dict(enumerate(members(count)))
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
    threads: int = 1  # of torch, in this process
    tier: str = ""  # of a population
    members: int = 0
    choice: bool = False  # what the engine itself would do, or the nearest to it


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


def gemm_peak(threads: int = 1, device: str = "cpu") -> float:
    """GFLOP/s of the best of several products of square float32 matrices."""
    torch.set_num_threads(threads)
    generator, best = torch.Generator(device).manual_seed(0), 0.0
    for size in (1024, 1536, 2048) if device == "cpu" else (4096, 8192):
        one, other = (torch.rand(size, size, generator=generator, device=device) for _ in range(2))
        product = torch.empty(size, size, device=device)
        for _ in range(4):
            began = clock(device)
            torch.mm(one, other, out=product)
            best = max(best, 2e-9 * size**3 / (clock(device) - began))
    torch.set_num_threads(1)
    return best


def counts(case: Case, tier: str, tiers: Sequence[str], wanted: Sequence[int]) -> tuple[list[int], int]:
    """Sizes of stacks to measure, within what the network allows, and the one nearest to the engine's own choice.

    Stacks of tensors are measured at that choice alone where the native tier is measured too.
    """
    own = stack_size(case.problem(tier), tier=tier)
    if tier == "reference" and "native" in tiers:
        return [own], own
    found = {min(k, case.largest if tier == "native" else case.stacked) for k in wanted}
    if tier == "reference":
        found.add(own)
    return sorted(found), min(found, key=lambda k: abs(k - own))


def one_thread_ways(case: Case, tiers: Sequence[str], wanted: Sequence[int]) -> list[Way]:
    ways = [Way("a", 1, lambda: plain(case, "a")), Way("b", 1, lambda: plain(case, "b"))]
    for tier in tiers:
        sizes, choice = counts(case, tier, tiers, wanted)
        for k in sizes:
            total = k if tier == "reference" else k * math.ceil(AT_LEAST / (k * case.steps * case.flops))
            ways.append(Way(named(tier, k), total, lambda t=tier, k=k, n=total: population(case, t, k, n),  # type: ignore[misc]
                            tier=tier, members=k, choice=k == choice))
    return ways


def two_thread_ways(case: Case, tiers: Sequence[str], wanted: Sequence[int], processes: Any, pool: Pool) -> list[Way]:
    ways = [Way("a", 2, lambda: in_processes(case, "a", processes)), Way("b", 2, lambda: in_processes(case, "b", processes)),
            Way("a-2t", 1, lambda: plain(case, "a"), threads=2), Way("b-2t", 1, lambda: plain(case, "b"), threads=2)]
    tier = product(tiers)
    sizes, _ = counts(case, tier, tiers, wanted)
    count = max((k for k in sizes if k <= PAIRED), default=min(sizes))
    if tier == "native":
        ways.append(Way(named(tier, count), count, lambda: population(case, tier, count, count, threads=2), tier=tier,
                        members=count))
    else:
        count *= 2  # a stack of tensors has one thread: each gets one
    return [*ways, Way(f"pool, {count} members", count, lambda: in_pool(case, tier, count, pool), tier=tier, members=count,
                       choice=True)]


def card_ways(case: Case, wanted: Sequence[int]) -> list[Way]:
    sizes = sorted({min(k, 2 * case.largest) for k in (*wanted, max(wanted) * 2)})
    return [Way("b", 1, lambda: plain(case, "b", "cuda")),
            *(Way(named(tier, k), k, lambda k=k, tier=tier: population(case, tier, k, k, device="cuda"),  # type: ignore[misc]
                  tier=tier, members=k) for k in sizes for tier in ("reference", "cuda"))]


def named(tier: str, count: int) -> str:
    return f"{dict(reference='stacked', cuda='recorded').get(tier, tier)}, {count} member{'s' * (count > 1)}"


def product(tiers: Sequence[str]) -> str:
    """The tier that the product would use."""
    return "native" if "native" in tiers else "reference"


# ---- reporting


def report(case: Case, threads: int, ways: Sequence[Way], found: dict[str, list[float]], peak: float,
           device: str = "cpu") -> list[dict[str, Any]]:
    """One entry per way: its time, its GFLOP/s, and how many times faster a population is than each alternative."""
    others = {w.name: w.name for w in ways if not w.tier}
    stacked = next((w.name for w in ways if w.tier == "reference" and w.choice), None)
    rows = []
    for way in ways:
        times = spread(found[way.name])
        gflops = case.flops / (1e3 * times["median"])
        row: dict[str, Any] = {"network": case.network, "shape": case.shape, "batch": case.batch, "case": case.key,
                               "device": device, "threads": threads, "way": way.name, "tier": way.tier or None,
                               "members": way.members or None, "choice": way.choice, "steps": case.steps,
                               "configurations": way.configurations, "microseconds": times, "per_second": 1e6 / times["median"],
                               "gflops": gflops, "gemm_peak": peak, "share_of_peak": gflops / peak, "rounds": found[way.name]}
        if way.tier:
            slower = others | ({"stacked": stacked} if stacked and way.tier == "native" else {})
            row["times"] = {name: spread([slow / fast for slow, fast in zip(found[key], found[way.name], strict=True)])
                            for name, key in slower.items()}
            if way.choice and threads > 1:
                plan = plan_stacks(case.problem(way.tier), dict(enumerate(members(way.members))))
                row["stacks"] = [len(ids) for _, ids in plan]
        rows.append(row)
    return rows


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    others = list(dict.fromkeys(name for r in rows for name in r.get("times", ())))
    cells = [[r["way"], shown(r["microseconds"]), f"{r['per_second']:,.0f}", f"{r['gflops']:,.1f}", f"{r['share_of_peak']:.0%}",
              *(ratio(r["times"][o]) if o in r.get("times", ()) else "" for o in others)] for r in rows]
    print(table([f"{rows[0]['shape']}, batch {rows[0]['batch']}", "µs per configuration-step", "per second", "GFLOP/s", "of peak",
                 *(f"times ({o})" for o in others)], cells))
    notes = [f"{r['way']}: in stacks of {', '.join(map(str, r['stacks']))}" for r in rows if "stacks" in r]
    print("; ".join([f"peak {rows[0]['gemm_peak']:,.1f} GFLOP/s", *notes]) + "\n", flush=True)


def ratio(found: dict[str, float]) -> str:
    return shown(found, 2 if found["median"] < 10 else 1)


def judged(rows: Sequence[dict[str, Any]], tier: str) -> list[dict[str, Any]]:
    """The targets, with what was measured; ``tier`` is what the product uses."""
    out = []
    for target in TARGETS:
        wanted = tier if target.product else "native"
        row = next((r for r in rows if r["case"] == target.case and r["threads"] == target.threads and r["tier"] == wanted
                    and (r["choice"] if target.members is None else r["members"] == target.members)), None)
        way = row["way"] if row else named(wanted, target.members) if target.members else f"{wanted}, its own choice"
        text = (f"{target.case}, {way}{' (the tier in use)' * target.product}, {target.threads} "
                f"thread{'s' * (target.threads > 1)}: at least {target.factor:g} times ({target.other})")
        found = None if row is None else row["times"][target.other]
        out.append({"case": target.case, "members": target.members, "against": target.other, "factor": target.factor,
                    "threads": target.threads, "tier": wanted, "measured": found,
                    "text": text + (", not measured" if found is None else f", measured {ratio(found)}"),
                    "reached": None if found is None else found["median"] >= target.factor})
    return out


# ---- the command line


def arguments_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, complete and checked."""
    parser.add_argument("--networks", type=words, help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--batches", type=numbers, help=f"of {', '.join(map(str, BATCHES))} (default: all)")
    parser.add_argument("--members", type=numbers, help="sizes of stacks (default 1,8,32,128; at most 8 of the deep network)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="1, 2 or 1,2 (default 1,2)")
    parser.add_argument("--tiers", type=words, help="of native, reference (default: both, as far as they are built)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where tensors are (default %(default)s)")
    parser.add_argument("--rounds", type=int, help="how often every alternative is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="small and middle at batch 32, 1 and 32 members, 3 rounds")
    parser.add_argument("--memory", action="store_true", help="memory of the native tier instead of time")
    parser.add_argument("--out", type=Path, help="JSON file (default benchmarks/results/population.json; with --memory and on "
                                                 "the card a name of its own)")
    given = parser.parse_args()
    given.networks = given.networks or list(NETWORKS[:2] if given.quick else NETWORKS)
    given.batches = given.batches or list(BATCHES[:1] if given.quick else BATCHES)
    given.members = given.members or ([1, 32] if given.quick else list(MEMBERS))
    given.rounds = (3 if given.quick else 5) if given.rounds is None else given.rounds
    kind = "-memory" if given.memory else "-cuda" if given.device == "cuda" else ""
    given.out = given.out or RESULTS / f"population{kind}.json"
    for name, known in (("networks", NETWORKS), ("batches", BATCHES), ("tiers", ("native", "reference"))):
        unknown = [str(v) for v in getattr(given, name) or () if v not in known]
        if unknown:
            parser.error(f"--{name}: unknown {', '.join(unknown)}; known are {', '.join(map(str, known))}")
    if not given.threads or not set(given.threads) <= {1, 2} or min(*given.members, given.rounds, 2) < 1:
        parser.error("--threads is 1, 2 or 1,2; members and rounds are at least 1")
    if given.device == "cuda":
        if not torch.cuda.is_available():
            parser.error(f"--device cuda: torch {torch.__version__} finds no graphics card that it can use")
        if given.memory or "native" in (given.tiers or ()):
            parser.error("--device cuda: the native tier trains on the processor; on the card there is the reference tier alone")
    elif library.engine() is None and (given.memory or "native" in (given.tiers or ())):
        parser.error(library.why_not())
    if given.memory and not STATUS.exists():
        parser.error(f"--memory reads {STATUS}, which this system does not have")
    given.tiers = sorted(set(given.tiers or ["reference", *(["native"] if library.engine() is not None else [])]), reverse=True)
    return given


def measure_all(given: argparse.Namespace) -> list[dict[str, Any]]:
    """All networks on the card, or with one thread and with two."""
    cases = [c for c in CASES if c.network in given.networks and c.batch in given.batches]
    rows: list[dict[str, Any]] = []
    peaks = {1: 0.0, 2: 0.0}

    def take(case: Case, threads: int, ways: Sequence[Way]) -> None:
        peaks[threads] = max(peaks[threads], gemm_peak(threads, given.device))
        rows.extend(new := report(case, threads, ways, measure(case, ways, given.rounds), peaks[threads], given.device))
        print_rows(new)

    if given.device == "cuda":
        print(f"ON THE CARD: {torch.cuda.get_device_name()}\n")
        for case in cases:
            take(case, 1, card_ways(case, given.members))
        return rows
    if 1 in given.threads:
        print("ONE THREAD\n")
        for case in cases:
            take(case, 1, one_thread_ways(case, given.tiers, given.members))
    if 2 in given.threads:
        print("TWO THREADS: (a) and (b) in two processes of one thread each; (a-2t) and (b-2t) in one process with two\n")
        context = multiprocessing.get_context("spawn")
        with context.Pool(2, initializer=torch.set_num_threads, initargs=(1,)) as processes, Pool(2) as pool:
            for case in cases:
                take(case, 2, two_thread_ways(case, given.tiers, given.members, processes, pool))
    return rows


def main() -> int:
    given = arguments_of(argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                                 formatter_class=argparse.RawDescriptionHelpFormatter))
    torch.set_num_threads(1)
    engine = library.engine()
    native = library.why_not() if engine is None else f"native engine {engine.name}"
    settings = environment(rounds=given.rounds, quick=given.quick, tiers=given.tiers, device=given.device, engine=native)
    print(f"{settings['cpu']}, {settings['cores']} cores, torch {settings['versions']['torch']}, {native}")
    out: dict[str, Any] = {"benchmark": "population", "environment": settings}
    if given.memory:
        print()
        out["memory"] = measure_memory(max(given.threads), TINY_CONFIGURATIONS // (10 if given.quick else 1))
        out["targets"] = report_memory(out["memory"])
    else:
        print(f"{given.rounds} rounds; median (smallest to largest)\n")
        if max(given.threads) > cores():
            print(f"two threads are asked for, this process may use {cores()} core: they take turns\n")
        out["rows"] = measure_all(given)
        out["gemm_peak"] = {str(n): max(r["gemm_peak"] for r in out["rows"] if r["threads"] == n)
                            for n in sorted({r["threads"] for r in out["rows"]})}
        out["targets"] = judged(out["rows"], product(given.tiers)) if given.device == "cpu" else []
    for target in out["targets"]:
        print(verdict(target["reached"], target["text"]))
    print(f"\nwritten: {write_json(given.out, out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

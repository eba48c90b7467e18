"""Memory of the compiled tier, for ``population.py``: what one large stack takes at its peak, and what many small ones leave."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common import table
from population_cases import Case, data, members

import wellfit as wf
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.population.stack import Stack
from wellfit.population.tiers import make_stack

MEMORY_CASE, MEMORY_MEMBERS = Case("middle", 50, (256, 256, 256), 10, 32, 32, 1), 128
TINY, TINY_STACK, TINY_CONFIGURATIONS = Case("tiny", 4, (8,), 2, 8, 4, 2), 10, 10_000
GROWTH_MIB = 2.0  # what the allocator may do: 200 bytes for each of 10 000 configurations
STATUS = Path("/proc/self/status")


def memory_mib(name: str) -> float:
    """VmRSS, what this process has in memory now, or VmHWM, the most it had."""
    line = next(s for s in STATUS.read_text(encoding="utf-8").splitlines() if s.startswith(f"{name}:"))
    return int(line.split()[1]) / 2**10


def with_validation(case: Case) -> Problem:
    """A quarter of the rows to validate on: whatever a member needs in a run is in memory once."""
    inputs, targets = data(case)
    rows = torch.arange(len(inputs))
    edge = len(rows) * 3 // 4
    return Problem(case.spec, inputs, targets, (Fold(rows[:edge], rows[edge:]),), Objective("multiclass", "accuracy"), case.epochs,
                   case.batch, engine="native")


def train_natively(problem: Problem, everyone: Sequence[Member], threads: int) -> None:
    stack = make_stack(problem, everyone, tier="native", threads=threads)
    assert isinstance(stack, Stack)
    while not stack.done:
        stack.run_epoch()
    stack.final()


def tiny(count: int, threads: int) -> None:
    """Train so many tiny configurations with many parts, in small stacks, one stack after the other."""
    problem = with_validation(TINY)
    recipe = wf.Recipe(wf.Dropout(0.2), wf.Mixup(0.2), wf.L1(1e-4), wf.MaxNorm(3.0), wf.BatchNorm(), wf.EMA(), wf.EarlyStopping())
    for start in range(0, count, TINY_STACK):
        train_natively(problem, [Member(recipe, 1e-3, seed=s) for s in range(start, min(start + TINY_STACK, count))], threads)


def measure_memory(threads: int, configurations: int) -> dict[str, Any]:
    """Resident memory in MiB: the most that one large stack takes, and what many small ones leave behind."""
    tiny(max(TINY_STACK, configurations // 20), threads)  # loads what is loaded once
    problem, everyone = with_validation(MEMORY_CASE), members(MEMORY_MEMBERS)
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the most so far is what it is now
    before = memory_mib("VmRSS")
    train_natively(problem, everyone, threads)
    peak, after = memory_mib("VmHWM"), memory_mib("VmRSS")
    large = {"case": MEMORY_CASE.key, "shape": MEMORY_CASE.shape, "members": MEMORY_MEMBERS, "before": before, "peak": peak,
             "after": after, "growth": peak - before,
             "state": 3 * 4 * MEMORY_MEMBERS * MEMORY_CASE.spec.parameters / 2**20}
    gc.collect()
    before, began = memory_mib("VmRSS"), time.perf_counter()
    tiny(configurations, threads)
    gc.collect()
    after = memory_mib("VmRSS")
    small = {"shape": TINY.shape, "configurations": configurations, "members": TINY_STACK, "before": before, "after": after,
             "growth": after - before, "seconds": time.perf_counter() - began}
    return {"threads": threads, "large": large, "small": small}


def report_memory(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Print what was found; the target."""
    large, small = found["large"], found["small"]
    print(table(["resident memory in MiB", "before", "peak", "after", "growth"],
                [[f"{large['members']} members of {large['shape']}", f"{large['before']:.1f}", f"{large['peak']:.1f}",
                  f"{large['after']:.1f}", f"{large['growth']:.1f} at the peak"],
                 [f"{small['configurations']} configurations of {small['shape']}, {small['members']} at a time",
                  f"{small['before']:.1f}", "", f"{small['after']:.1f}", f"{small['growth']:.1f} left behind"]]))
    print(f"weights and moments of the {large['members']} members: {large['state']:.1f} MiB\n")
    return [{"text": f"{small['configurations']} tiny configurations leave no more than {GROWTH_MIB:g} MiB behind, measured "
                     f"{small['growth']:.1f} MiB", "reached": small["growth"] <= GROWTH_MIB, "measured": small["growth"]}]

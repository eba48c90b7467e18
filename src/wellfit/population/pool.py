"""Several processes, one thread each, that train stacks side by side. One process works in place, without any.

Several threads on one small network lose to several networks on one thread each. The parent only steers: it hands out
stacks, asks for the next rung, and says who goes on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from wellfit.population.problem import Member, Problem
from wellfit.population.train import Record, StackRun, Wants, plan_stacks


@dataclass(frozen=True)
class Progress:
    """A live sign from the engine: members training now, their epoch of ``epochs``, members ended so far."""

    alive: int
    epoch: int
    epochs: int


Choose = Callable[[dict[int, Record], int], Sequence[int]]
"""Says after a rung (records of the live members, epoch) which members go on."""


class _Site:
    """What a worker does on command; also used in place when there is one process only."""

    def __init__(self) -> None:
        self.problems: dict[str, Problem] = {}
        self.runs: dict[int, StackRun] = {}

    def problem(self, key: str, problem: Problem) -> None:
        self.problems = {key: problem}

    def start(self, key: str, stacks: Mapping[int, dict[int, Member]], wants: Wants, folder: Path | None) -> None:
        self.runs = {n: StackRun(self.problems[key], members, wants, folder / f"stack-{n}.safetensors" if folder else None)
                     for n, members in stacks.items()}

    def advance(self, epoch: int, deadline: float | None, report: Callable[[int, int], None]) -> tuple[bool, dict[int, Record]]:
        runs = list(self.runs.values())

        def told(alive: int, at: int) -> None:
            epochs = [run.epoch for run in runs if run.ids]
            report(sum(len(run.ids) for run in runs), sum(epochs) // len(epochs) if epochs else at)

        complete = True
        for run in runs:
            complete = run.advance(epoch, deadline, told) and complete
        return complete, {n: replace(r, outputs=None, extra=None, trail=None, weights=None)
                          for run in self.runs.values() for n, r in run.records.items()}

    def keep(self, numbers: Sequence[int]) -> None:
        for run in self.runs.values():
            run.keep(numbers)

    def finish(self) -> tuple[dict[int, Record], int]:
        records = {n: r for run in self.runs.values() for n, r in run.records.items()}
        epochs = sum(run.member_epochs for run in self.runs.values())
        self.runs = {}
        return records, epochs


def _serve(connection: Connection) -> None:
    """The loop of a worker process. It ends when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    site = _Site()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            name, arguments = connection.recv()
            try:
                if name == "advance":
                    last = 0.0

                    def report(alive: int, epoch: int) -> None:
                        nonlocal last
                        if time.monotonic() - last > 0.1:
                            last = time.monotonic()
                            connection.send(("progress", (alive, epoch)))

                    connection.send(("done", site.advance(arguments[0], arguments[1], report)))
                else:
                    connection.send(("done", getattr(site, name)(*arguments)))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except BaseException as error:  # reported to the parent, which raises it there
                connection.send(("error", error))


class Pool:
    """Trains members on ``workers`` processes.

    Use as a context manager. The result for a member does not depend on the number of workers.
    """

    def __init__(self, workers: int | None = None):
        self.workers = max(1, workers if workers is not None else usable_cores())
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        self._site = _Site() if self.workers == 1 else None
        self._key = ""
        self._threads = torch.get_num_threads()
        self.member_epochs = 0

    def __enter__(self) -> Pool:
        if self._site is not None:
            torch.set_num_threads(1)
            return self
        context = multiprocessing.get_context("spawn")
        environment = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        try:
            with _interrupts_held():
                for _ in range(self.workers):
                    here, there = context.Pipe()
                    process = context.Process(target=_serve, args=(there,), daemon=True)
                    process.start()
                    there.close()
                    self._processes.append(process)
                    self._connections.append(here)
        finally:
            for name, value in environment.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        return self

    def __exit__(self, *exception: Any) -> None:
        torch.set_num_threads(self._threads)
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(timeout=0.2)
            if process.is_alive():
                process.terminate()
        self._processes, self._connections = [], []

    def restart(self) -> None:
        """Drop whatever the workers are doing (after an interrupt) and start afresh."""
        self.__exit__()
        self._key = ""
        if self._site is not None:
            self._site = _Site()
        self.__enter__()

    def train(self, key: str, problem: Problem, members: Mapping[int, Member], *, rungs: Sequence[int] = (),
              choose: Choose | None = None, wants: Wants | None = None, deadline: float | None = None,
              folder: Path | None = None, progress: Callable[[Progress], None] | None = None) -> dict[int, Record]:
        """Train ``members`` (by id) and return their records.

        After each of the ``rungs`` (epochs) ``choose`` says who goes on. A member without ``ended`` was left behind at a rung or
        by the deadline. With a ``folder`` the state is checkpointed there, and a call with the same members goes on from it.
        """
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if key != self._key:
            self._ask_all("problem", (key, problem))
            self._key = key
        stacks = plan_stacks(problem, members)
        shares = _share_out(stacks, self.workers)
        told = progress or (lambda _: None)
        self._ask([("start", (key, {n: {i: members[i] for i in stacks[n]} for n in share}, wants or Wants(), folder))
                   for share in shares])
        complete = True
        for rung in [*(r for r in rungs if r < problem.epochs), problem.epochs]:
            answers = self._ask([("advance", (rung, deadline))] * self.workers,
                                lambda alive, epoch: told(Progress(alive, epoch, problem.epochs)))
            complete = all(done for done, _ in answers)
            if not complete:
                break
            if rung < problem.epochs and choose is not None:
                records = {n: r for _, some in answers for n, r in some.items()}
                self._ask_all("keep", (list(choose(records, rung)),))
        parts = self._ask([("finish", ())] * self.workers)
        self.member_epochs += sum(epochs for _, epochs in parts)
        return {n: r for records, _ in parts for n, r in records.items()}

    def _ask_all(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._ask([(name, arguments)] * self.workers)

    def _ask(self, commands: Sequence[tuple[str, tuple[Any, ...]]],
             report: Callable[[int, int], None] = lambda alive, epoch: None) -> list[Any]:
        """Send one command to each worker and collect the answers in order."""
        if self._site is not None:
            name, arguments = commands[0]
            if name == "advance":
                return [self._site.advance(arguments[0], arguments[1], report)]
            return [getattr(self._site, name)(*arguments)]
        for connection, command in zip(self._connections, commands, strict=True):
            connection.send(command)
        answers: dict[int, Any] = {}
        latest: dict[int, tuple[int, int]] = {}
        while len(answers) < len(commands):
            for ready in wait([c for n, c in enumerate(self._connections) if n not in answers]):
                n = self._connections.index(ready)  # type: ignore[arg-type]
                try:
                    kind, value = self._connections[n].recv()
                except EOFError as error:
                    raise RuntimeError("A worker process ended unexpectedly (out of memory?).") from error
                if kind == "error":
                    raise value
                if kind == "progress":
                    latest[n] = value
                    report(sum(alive for alive, _ in latest.values()), min(epoch for _, epoch in latest.values()))
                else:
                    answers[n] = value
        return [answers[n] for n in range(len(commands))]


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits; a process started meanwhile never sees one: it is the parent's to handle."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _share_out(stacks: Sequence[Sequence[int]], workers: int) -> list[list[int]]:
    """Stacks for each worker, the largest first to whoever has least."""
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for n in sorted(range(len(stacks)), key=lambda n: (-len(stacks[n]), n)):
        least = loads.index(min(loads))
        shares[least].append(n)
        loads[least] += len(stacks[n])
    return shares


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

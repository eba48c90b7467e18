"""Trains members on all cores: compiled stacks in place, on threads; stacks of tensors in processes of one thread each.

Several threads on one small network lose to several networks on one thread each. The compiled engine shares members out
over threads itself, and a graphics card needs one process only. Tensors on a CPU need processes, which are started when they are
first needed; the parent only steers: it hands out stacks, asks for the next rung, and says who goes on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from wellfit.population.modules.problem import ModuleProblem
from wellfit.population.problem import Member
from wellfit.population.tiers import AnyProblem
from wellfit.population.train import Record, StackRun, Wants, plan_stacks


@dataclass(frozen=True)
class Progress:
    """A live sign from the engine: members training now, their epoch of ``epochs``, members ended so far."""

    alive: int
    epoch: int
    epochs: int


_SIGN_SECONDS = 0.1
Choose = Callable[[dict[int, Record], int], Sequence[int]]
"""Says after a rung (records of the live members, epoch) which members go on."""


class _Site:
    """What a worker does on command; also used in place, for compiled stacks and where there is one worker only."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.problems: dict[str, AnyProblem] = {}
        self.runs: dict[int, StackRun] = {}

    def problem(self, key: str, problem: AnyProblem) -> None:
        self.problems = {key: problem}

    def start(self, key: str, stacks: Mapping[int, tuple[str, dict[int, Member]]], wants: Wants, folder: Path | None) -> None:
        self.runs = {n: StackRun(self.problems[key], members, wants, folder / f"stack-{n}.safetensors" if folder else None,
                                 tier=tier, threads=self.threads)
                     for n, (tier, members) in stacks.items()}

    def advance(self, epoch: int, deadline: float | None, report: Callable[[int, int], None]) -> tuple[bool, dict[int, Record]]:
        runs = list(self.runs.values())
        last = 0.0

        def told(alive: int, at: int) -> None:
            nonlocal last
            if time.monotonic() - last > _SIGN_SECONDS:
                last = time.monotonic()
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


def _serve(connection: Connection, problems: Mapping[str, AnyProblem] = MappingProxyType({}),
           inherited: Sequence[Connection] = ()) -> None:
    """The loop of a worker process, which may be born knowing a problem. It ends when the parent does: a copied process lets go of
    the parent's ends, or none would ever see them close."""
    for end in inherited:
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    site = _Site()
    site.problems = dict(problems)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            name, arguments = connection.recv()
            try:
                if name == "advance":
                    def report(alive: int, epoch: int) -> None:
                        connection.send(("progress", (alive, epoch)))

                    connection.send(("done", site.advance(arguments[0], arguments[1], report)))
                else:
                    connection.send(("done", getattr(site, name)(*arguments)))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except BaseException as error:  # reported to the parent, which raises it there
                connection.send(("error", error))


class Pool:
    """Trains members on ``workers`` cores.

    Use as a context manager. The result for a member does not depend on the number of workers.
    """

    def __init__(self, workers: int | None = None):
        self.workers = max(1, workers if workers is not None else usable_cores())
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        self._here = _Site(self.workers)
        self._known = ""  # the problem that the processes know
        self._threads = torch.get_num_threads()
        self.member_epochs = 0

    def __enter__(self) -> Pool:
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: Any) -> None:
        torch.set_num_threads(self._threads)
        self._stop_processes()

    def _stop_processes(self) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.terminate()
        self._processes, self._connections = [], []

    def restart(self) -> None:
        """Drop whatever is being done (after an interrupt) and start afresh."""
        self.__exit__()
        self._known, self._here = "", _Site(self.workers)
        self.__enter__()

    def _start_processes(self, problems: Mapping[str, AnyProblem] | None = None) -> None:
        """Workers that start afresh and are told what they need, or copies of this process that know ``problems``."""
        context: Any = multiprocessing.get_context("spawn" if problems is None else "fork")
        environment = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        try:
            with _interrupts_held():
                for _ in range(self.workers):
                    here, there = context.Pipe()
                    arguments = (there,) if problems is None else (there, problems, (*self._connections, here))
                    process = context.Process(target=_serve, args=arguments, daemon=True)
                    process.start()
                    there.close()
                    self._processes.append(process)
                    self._connections.append(here)
        finally:
            for name, value in environment.items():
                os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)

    def train(self, key: str, problem: AnyProblem, members: Mapping[int, Member], *, rungs: Sequence[int] = (),
              choose: Choose | None = None, wants: Wants | None = None, deadline: float | None = None,
              folder: Path | None = None, progress: Callable[[Progress], None] | None = None) -> dict[int, Record]:
        """Train ``members`` (by id) and return their records.

        After each of the ``rungs`` (epochs) ``choose`` says who goes on. A member without ``ended`` was left behind at a rung or
        by the deadline. With a ``folder`` the state is checkpointed there, and a call with the same members goes on from it.
        """
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        stacks = dict(enumerate(plan_stacks(problem, members)))
        # several processes on one card would only take its memory from each other
        shared = self.workers > 1 and (can_fork() if isinstance(problem, ModuleProblem) else problem.device == "cpu")
        elsewhere = [n for n, (tier, _) in stacks.items() if tier != "native"] if shared else []

        def described(numbers: Iterable[int]) -> dict[int, tuple[str, dict[int, Member]]]:
            return {n: (stacks[n][0], {i: members[i] for i in stacks[n][1]}) for n in numbers}

        if elsewhere:
            if isinstance(problem, ModuleProblem):
                if key != self._known:  # networks and data sets of any kind cannot be sent: they are inherited
                    self._stop_processes()
                    self._start_processes({key: problem})
                    self._known = key
            elif not self._processes:
                self._start_processes()
            if key != self._known:
                self._ask([("problem", (key, problem))] * self.workers)
                self._known = key
            shares = _share_out({n: len(stacks[n][1]) for n in elsewhere}, self.workers)
            self._ask([("start", (key, described(share), wants or Wants(), folder)) for share in shares])
        # last: sending a problem to a process moves its tensors into shared memory, and compiled stacks hold their addresses
        self._here.problem(key, problem)
        self._here.start(key, described(n for n in stacks if n not in elsewhere), wants or Wants(), folder)

        def told(alive: int, epoch: int) -> None:
            if progress is not None:
                progress(Progress(alive, epoch, problem.epochs))

        def all_do(name: str, *arguments: Any) -> list[Any]:
            own = [getattr(self._here, name)(*arguments, *((told,) if name == "advance" else ()))]
            return own + (self._ask([(name, arguments)] * self.workers, told) if elsewhere else [])

        for rung in [*(r for r in rungs if r < problem.epochs), problem.epochs]:
            answers = all_do("advance", rung, deadline)
            if not all(done for done, _ in answers):
                break
            if rung < problem.epochs and choose is not None:
                all_do("keep", list(choose({n: r for _, some in answers for n, r in some.items()}, rung)))
        parts = all_do("finish")
        self.member_epochs += sum(epochs for _, epochs in parts)
        return {n: r for records, _ in parts for n, r in records.items()}

    def _ask(self, commands: Sequence[tuple[str, tuple[Any, ...]]],
             report: Callable[[int, int], None] = lambda alive, epoch: None) -> list[Any]:
        """Send one command to each process and collect the answers in order."""
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


def can_fork() -> bool:
    """Whether this process can be copied: on Linux, with no accelerator in use (its driver does not survive a copy)."""
    return sys.platform == "linux" and not torch.cuda.is_initialized()


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


def _share_out(sizes: Mapping[int, int], workers: int) -> list[list[int]]:
    """Stacks for each worker, the largest first to whoever has least."""
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for n in sorted(sizes, key=lambda n: (-sizes[n], n)):
        least = loads.index(min(loads))
        shares[least].append(n)
        loads[least] += sizes[n]
    return shares


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

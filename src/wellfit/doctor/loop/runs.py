"""Running copies of ``fit`` on loaders whose quality follows a course, and what such a run shows."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.calling import Enough, Interrupt, call, parts_of, undisturbed
from wellfit.doctor.loop.copies import copied
from wellfit.doctor.loop.loaders import Commanded, Watched, rows_of
from wellfit.doctor.loop.records import Forward
from wellfit.doctor.loop.variables import Held, held_above, held_in
from wellfit.doctor.loop.watch import Watch
from wellfit.doctor.set_up import SetUp

Course = Callable[[int], float]
EVALUATIONS, SECONDS, SLOWER = 160, 8.0, 1e-3



@dataclass
class Evaluation:
    """One reading of a loader between steps: after how many steps, of which weights."""

    steps: int
    weights: set[str] = field(default_factory=set)
    modules: set[int] = field(default_factory=set)


@dataclass
class Outcome:
    """How a run of ``fit`` went.

    Attributes:
        ended: "returned", "limit" (it went on longer than we looked), "failed".
        steps: of the optimizer; per_epoch: in one pass over the training loader.
        evaluations: by loader.
        kept, last: digests of the weights that fit keeps, and of those after the last step.
        held: variables of fit, and of what it calls, that hold weights.
        saved: steps after which something was written to a file.
    """

    ended: str
    steps: int
    per_epoch: int
    evaluations: dict[str, list[Evaluation]]
    kept: str
    last: str
    forwards: list[Forward]
    modules: dict[int, str]
    started_training: frozenset[int]
    interrupted: bool = False
    held: Held = field(default_factory=Held)
    saved: list[int] = field(default_factory=list)
    error: str = ""

    @property
    def epochs(self) -> float:
        return self.steps / self.per_epoch


def digest(tensors: Any) -> str:
    """A fingerprint of the values of tensors."""
    code = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        code.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return code.hexdigest()


def weights_of(value: Any, parts: SetUp) -> str:
    """The fingerprint of the model that fit keeps: the one it returns, or the given one."""
    names = [n for n, _ in parts.model.named_parameters()]

    def found(item: Any, depth: int = 0) -> str | None:
        if isinstance(item, nn.Module):
            own = list(item.parameters())
            return digest(own) if len(own) == len(names) else None
        if isinstance(item, Mapping) and set(names) <= set(item) and all(isinstance(item[n], Tensor) for n in names):
            return digest(item[n] for n in names)
        if depth < 2 and isinstance(item, tuple | list | Mapping):
            for inner in item.values() if isinstance(item, Mapping) else item:
                code = found(inner, depth + 1)
                if code is not None:
                    return code
        if depth < 2 and isinstance(getattr(item, "model", None), nn.Module):
            return found(item.model, depth + 1)
        return None
    return found(value) or digest(parts.model.parameters())


class FitRun:
    """One run. ``courses`` gives the quality of the training loader by epoch, of the others by evaluation, from 0.

    Args:
        exam: the examination.
        courses: part -> course; parts that are not named keep their real targets.
        epochs: given to a fit that asks for it.
        interrupt_after: evaluations of the validation loader after which a Ctrl-C comes.
        slower: factor on the learning rates, so that the metrics follow the courses and not the training.
        real: read the real batches of the training loader, with its real number of rows.
    """

    def __init__(self, exam: Exam, courses: Mapping[str, Course], *, epochs: int = 40, interrupt_after: int | None = None,
                 slower: float = SLOWER, look: bool = False, evaluations: int = EVALUATIONS):
        self.exam, self.courses, self.epochs = exam, dict(courses), epochs
        self.interrupt_after, self.slower, self.look, self.most = interrupt_after, slower, look, evaluations
        self.per_part: dict[str, list[Evaluation]] = {"train": [], "val": [], "test": []}
        self.done_passes = self.batches = 0
        self.per_pass = 1
        self.last = ""
        self.interrupted = False
        self.evaluated: nn.Module | None = None
        self._pass_steps = 0
        self._phases: list[str] = []

    def run(self) -> Outcome:
        exam = self.exam
        if exam.set_up.fit is None:
            raise NotExaminable("no fit")
        with undisturbed():
            self.loaders = {p: _watched(exam, p) for p in ("train", "val", "test")
                            if getattr(exam.set_up, f"{p}_loader") is not None}
            if "train" not in self.loaders:
                raise NotExaminable("fit needs a train_loader")
            self.parts = parts = copied(exam.set_up, {f"{p}_loader": loader for p, loader in self.loaders.items()})
            if not parts.model.training:
                parts.model.train()
            _slowed(parts, self.slower)
            self.watch = watch = Watch(parts.model, seconds=SECONDS, profile=self.look)
            self.commands = {p: Commanded(self.loaders[p], watch, parts.criterion) for p in self.courses if p in self.loaders}
            for loader in self.loaders.values():
                loader.begun, loader.read, loader.ended = self._begun, self._read, self._ended
            watch.listeners.append(self._passed)
            modules = {id(m): n for n, m in parts.model.named_modules()}
            started = frozenset(id(m) for m in parts.model.modules() if m.training)
            outcome = Outcome("failed", 0, 1, self.per_part, "", "", watch.forwards, modules, started)
            self.outcome = outcome
            if self.look:
                watch.returning_code = _code_of(parts.fit)
                watch.returning = lambda frame: held_in(parts, frame, outcome.held)
            result: Any = None
            with watch:
                try:
                    result = call(parts.fit, parts_of(parts, epochs=self.epochs, epoch=0, step=0))  # type: ignore[arg-type]
                    outcome.ended = "returned"
                except Enough:
                    outcome.ended = "limit"
                except Interrupt:
                    outcome.ended = "failed"
                except NotExaminable:
                    raise
                except Exception as error:
                    outcome.error = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            outcome.saved = [at for kind, at in watch.log if kind == "save"]
            outcome.steps, outcome.interrupted = watch.step_count, self.interrupted
            outcome.per_epoch = max(self.per_pass, watch.step_count - self._pass_steps)
            outcome.kept, outcome.last = weights_of(result, parts), self.last
        return outcome

    # ---- what the loaders tell

    def _begun(self, loader: Watched) -> None:
        watch, part = self.watch, loader.part
        if watch.late:
            raise Enough
        if part == "train":
            self.done_passes += watch.step_count > self._pass_steps
            self.per_pass = max(self.per_pass, watch.step_count - self._pass_steps)
            self._pass_steps = watch.step_count
        known = self.per_part[part]
        fresh = not known or known[-1].steps != watch.step_count
        if fresh:
            if max(len(known), self.done_passes) > self.most:
                raise Enough
            known.append(Evaluation(watch.step_count))
        self.last = digest(self.parts.model.parameters())
        if fresh and part in self.commands:
            index = self.done_passes if part == "train" else len(known) - 1
            self.commands[part].set(self.evaluated or self.parts.model, self.courses[part](index))
        self._phases.append(watch.phase)
        watch.phase = part
        if self.look and part != "train" and fresh and len(known) > 3:
            self.outcome.held = held_above(self.parts, sys._getframe(1))

    def _read(self, loader: Watched, batch: Any) -> None:
        watch = self.watch
        watch.phase, watch.batch = loader.part, batch
        if loader.part == "train":
            self.batches += 1
            watch.call = self.batches
            due = self.interrupt_after is not None and len(self.per_part["val"]) > self.interrupt_after
            if due and not self.interrupted and self.per_part["val"][-1].steps < watch.step_count:
                self.interrupted = True
                raise Interrupt
        if watch.late:
            raise Enough

    def _ended(self, loader: Watched) -> None:
        self.watch.phase = self._phases.pop() if self._phases else ""

    def _passed(self, made: Forward) -> None:
        if made.phase not in ("val", "test") and (made.phase != "train" or made.with_grad):
            return
        part = made.phase
        known = self.per_part[part]
        if not known or id(made.module) in known[-1].modules:
            return
        known[-1].modules.add(id(made.module))
        if made.own:
            known[-1].weights.add(digest(self.parts.model.parameters()))
            self.evaluated = None
        elif len(list(made.module.parameters())) == len(list(self.parts.model.parameters())):
            known[-1].weights.add(digest(made.module.parameters()))
            self.evaluated = made.module

def _code_of(function: Any) -> Any:
    while not isinstance(function, FunctionType | MethodType) and hasattr(function, "func"):
        function = function.func
    if not isinstance(function, FunctionType | MethodType) and callable(function):
        function = type(function).__call__
    return getattr(function, "__code__", None)


def _watched(exam: Exam, part: str) -> Watched:
    """A small loader in place of a real one: the number of its batches, few rows."""
    batches = exam.batches(f"{part}_loader", 8)
    if not batches:
        raise NotExaminable(f"the {part} loader is empty")
    size = max(1, rows_of(batches[0]))
    pieces: list[int] = []
    for tensor in _tensors(batches[0]):
        pieces.append(tensor.numel() // max(1, size))
    heavy = sum(pieces) > 3000
    if part != "train":
        rows = 32 if heavy else 192
        return Watched(part, batches, rows=rows, size=min(size, rows))
    try:
        count = min(40, max(1, len(getattr(exam.set_up, f"{part}_loader"))))
    except TypeError:
        count = 4
    size = min(size, 8 if heavy else 16)
    return Watched(part, batches, rows=min(count, 8 if heavy else 40) * size, size=size)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for v in value.values() for t in _tensors(v)]
    if isinstance(value, tuple | list):
        return [t for v in value for t in _tensors(v)]
    return []


def _slowed(parts: SetUp, factor: float) -> None:
    if factor == 1:
        return
    if parts.optimizer is not None:
        for group in parts.optimizer.param_groups:
            for name in ("lr", "initial_lr", "max_lr", "min_lr"):
                if isinstance(group.get(name), float | int):
                    group[name] *= factor
                elif isinstance(group.get(name), Tensor):
                    group[name] = group[name] * factor
    if parts.scheduler is not None and hasattr(parts.scheduler, "base_lrs"):
        parts.scheduler.base_lrs = [b * factor for b in parts.scheduler.base_lrs]

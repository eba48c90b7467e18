"""Running a copy of ``train_step``, or the beginning of ``fit``, under observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.calling import Enough, call, parts_of, undisturbed
from wellfit.doctor.loop.copies import copied
from wellfit.doctor.loop.explain import Explained, explain
from wellfit.doctor.loop.watch import Watch
from wellfit.doctor.set_up import SetUp

SECONDS = 15.0


@dataclass
class StepRun:
    """What was seen.

    Attributes:
        returned: loss that each call of ``train_step`` returned, or None where that is no number.
        explained: the recorded steps, taken apart.
        left: gradients after the last call, by name.
        function: "train_step" or "fit".
    """

    parts: SetUp
    watch: Watch
    returned: list[float | None]
    explained: list[Explained | None]
    function: str
    left: list[dict[str, Tensor]] = field(default_factory=list)
    frozen_before: dict[str, Tensor] = field(default_factory=dict)
    calls: int = 0

    @property
    def cycle(self) -> int:
        """Calls (or batches) per optimizer step."""
        counts = [s.calls for s in self.watch.steps[1:]] or [s.calls for s in self.watch.steps]
        return max(1, sorted(counts)[len(counts) // 2]) if counts else 1


def number(value: Any) -> float | None:
    """A loss as a number: of what a training step returns."""
    if isinstance(value, Tensor):
        return float(value.detach()) if value.numel() == 1 else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, dict):
        for name in ("loss", "train_loss"):
            if name in value:
                return number(value[name])
        return None
    if isinstance(value, tuple | list) and value:
        return number(value[0])
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def observe(exam: Exam, *, steps: int = 3, prepare: Callable[[SetUp], None] | None = None) -> StepRun:
    """Run copies of ``train_step`` on batches of the training loader until some steps of the optimizer are recorded.

    Raises:
        NotExaminable: it cannot be called, it fails, or no step is made.
    """
    set_up = exam.set_up
    if set_up.train_step is None:
        raise NotExaminable("no train_step")
    declared = set_up.declared.get("accumulation")
    most = min(64, max(6, (int(declared) if isinstance(declared, int) else 1) * steps, 8 * steps))
    batches = exam.batches("train_loader", most)
    if not batches:
        raise NotExaminable("the training loader is empty")
    with undisturbed():
        parts = copied(set_up, {n: exam.loader(n) for n in ("train_loader", "val_loader", "test_loader")
                                if getattr(set_up, n) is not None})
        if not parts.model.training:
            parts.model.train()
        if prepare is not None:
            prepare(parts)
        watch = Watch(parts.model, steps=steps, seconds=SECONDS)
        run = StepRun(parts, watch, [], [], "train_step",
                      frozen_before={n: p.detach().clone() for n, p in parts.model.named_parameters() if not p.requires_grad})
        function = parts.train_step
        assert function is not None
        with watch:
            for i in range(most):
                if len(watch.steps) >= steps or (watch.late and watch.steps):
                    break
                batch = batches[i % len(batches)]
                watch.begin_call(i + 1, batch)
                try:
                    value = call(function, parts_of(parts, batch=batch, step=i, epoch=0))
                except Enough:
                    break
                except NotExaminable:
                    raise
                except Exception as error:
                    if watch.steps:
                        break
                    what = " ".join(f"{type(error).__name__}: {error}".split())[:160]
                    raise NotExaminable(f"train_step fails on a copy ({what})") from error
                watch.settle()
                run.returned.append(number(value))
                run.left.append({n: p.grad.detach().clone() for n, p in watch.trained.items() if p.grad is not None})
                run.calls = i + 1
        if not watch.steps:
            raise NotExaminable("train_step makes no step of the optimizer")
        run.explained = [explain(step, set_up.criterion) for step in watch.steps]
    return run


def observed(exam: Exam) -> StepRun:
    """The steps of ``train_step``; those of ``fit`` if that is all there is."""
    if exam.set_up.train_step is None and exam.set_up.fit is not None:
        from wellfit.doctor.loop.natural import natural_fit

        return natural_fit(exam)
    return observe(exam)

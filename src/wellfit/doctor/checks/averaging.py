"""Averaged weights and the batch-norm statistics they are evaluated with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wellfit.doctor.batches import call, call_with_parts
from wellfit.doctor.exam import LOADERS, Exam, NotExaminable
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.set_up import SetUp

FIX = """torch.optim.swa_utils.update_bn(train_loader, averaged)  # after the last epoch, with dropout off:
# averaged.eval(); [m.train() for m in averaged.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] first"""


SECONDS = 5.0


@check("averaged-weights-with-live-batch-norm", severity="warning", evidence="probe", needs=("averaged",),
       why="Averaged weights give other activations than the last ones. Running statistics of the last weights, or of the first, "
           "do not belong to them, and the averaged network is evaluated worse than it is.",
       source="Izmailov et al. (2018), Averaging weights leads to wider optima, arXiv:1803.05407, 3.2")
def averaged_with_live_batch_norm(exam: Exam) -> Iterator[Observed]:
    given = exam.set_up.averaged
    if given is None or not _statistics(given):
        return
    shared = _shared(exam.set_up.model, given)
    parts = exam.fresh()
    model, averaged = parts.model, parts.averaged
    if averaged is None:
        return
    before = _statistics(averaged)
    how = "train_step" if _trained(exam, parts) else "update_parameters" if _averaged_once(exam, parts) else ""
    if not how and not shared:
        raise NotExaminable("neither train_step nor a method of averaged was seen to move the averaged weights")
    if parts.fit is not None and parts.finalize is None and not shared:
        parts, how = _fitted(exam), "fit"
        model, averaged = parts.model, parts.averaged
        if averaged is None:
            return
    after, live = _statistics(averaged), _statistics(model)
    if parts.finalize is not None:
        with contextlib.suppress(NotExaminable):
            if shared:
                return  # finalize would move the live model too: what it means cannot be told
            loader = exam.loader("train_loader") if parts.train_loader is not None else None
            call_with_parts(parts.finalize, parts, train_loader=loader)
            if any(not torch.equal(a, b) for a, b in zip(after.values(), _statistics(averaged).values())):
                return
    names = ", ".join(list(before)[:2])
    if shared:
        yield Observed(names, f"{shared} buffers of the averaged model are the live model's own tensors", FIX, "error")
    elif all(torch.equal(before[n], after[n]) for n in before):
        yield Observed(names, f"after {how} the averaged weights have moved and none of the {len(before)} running "
                              "statistics; nothing recomputes "
                              "them" + ("" if parts.finalize is None else " (finalize does not either)"), FIX)
    elif _equal_to_live(after, live):
        yield Observed(names, f"after {how} the averaged weights differ from the live ones, and their {len(after)} running "
                              "statistics are copies of the live model's; nothing recomputes "
                              "them" + ("" if parts.finalize is None else " (nor does finalize)"), FIX)


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    return {f"{n}.{b}": t.detach().clone() for n, m in model.named_modules() if isinstance(m, _BatchNorm)
            for b, t in (("running_mean", m.running_mean), ("running_var", m.running_var)) if t is not None}


def _shared(model: nn.Module, averaged: nn.Module) -> int:
    own = {b.data_ptr() for n, b in model.named_buffers() if b.numel() and "running" in n}
    if model is averaged:
        return 0
    return sum(b.data_ptr() in own for n, b in averaged.named_buffers() if b.numel() and "running" in n)


def _weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def _trained(exam: Exam, parts: SetUp) -> bool:
    """Three training steps on the copies; whether they moved the averaged weights."""
    if parts.train_step is None or parts.train_loader is None or parts.averaged is None:
        return False
    before = _weights(parts.averaged)
    parts.model.train()
    for step in range(3):
        call_with_parts(parts.train_step, parts, batch=exam.batch(), step=step)
    return any(not torch.equal(a, b) for a, b in zip(before, _weights(parts.averaged)))


class _TooLong(BaseException):
    """Ends a fit that takes too long; no ``except Exception`` of the user's holds it up."""


def _fitted(exam: Exam) -> SetUp:
    """Copies after ``fit`` on the first batches of each loader, for one epoch where it asks how many."""
    parts = exam.fresh()
    few = {part: exam.batches(part, 3) for part in LOADERS if getattr(exam.set_up, part) is not None}
    began = time.monotonic()

    def look(*_: Any) -> None:
        if time.monotonic() - began > SECONDS:
            raise _TooLong
    handle = parts.model.register_forward_pre_hook(look)
    try:
        call_with_parts(parts.fit, parts, epochs=2, **few)  # type: ignore[arg-type]
    except _TooLong:
        raise NotExaminable("fit takes too long to see whether it recomputes the averaged model's statistics") from None
    finally:
        handle.remove()
    return parts


def _averaged_once(exam: Exam, parts: SetUp) -> bool:
    """Two updates of an averaged model that has ``update_parameters``, the live one's weights and statistics moved in between."""
    averaged, model = parts.averaged, parts.model
    update = getattr(averaged, "update_parameters", None) or getattr(averaged, "update", None)
    if not callable(update):
        return False
    before = _weights(averaged)  # type: ignore[arg-type]
    model.train()
    with torch.no_grad():
        for _ in range(2):
            for p in model.parameters():
                p.add_(0.05 * torch.randn_like(p) * p.detach().abs().mean().clamp_min(1e-3))
            with contextlib.suppress(NotExaminable):
                call(model, exam.sample().inputs)
            try:
                update(model)
            except TypeError:
                return False
    return any(not torch.equal(a, b) for a, b in zip(before, _weights(averaged)))  # type: ignore[arg-type]


def _equal_to_live(after: dict[str, Tensor], live: dict[str, Tensor]) -> bool:
    found = [any(n.endswith(name) and torch.allclose(t, s) for name, s in live.items()) for n, t in after.items()]
    return all(found) and bool(found)

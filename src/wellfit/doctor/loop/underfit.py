"""Whether a training fits its own data, with its regularization and without."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.calling import Enough, call, parts_of, undisturbed
from wellfit.doctor.loop.copies import LOADERS, copied
from wellfit.doctor.loop.criteria import loss_of, main_output, run_model, targets_of
from wellfit.doctor.loop.modes import drops
from wellfit.doctor.loop.watch import Watch
from wellfit.doctor.set_up import SetUp

SECONDS, EPOCHS = 8.0, 60


@dataclass(frozen=True)
class Fitted:
    """Clean training loss after a run, beside that of the best constant prediction."""

    loss: float
    chance: float

    @property
    def learned(self) -> float:
        """Share of the loss of a constant that is gone."""
        return 1 - self.loss / self.chance


def trained(exam: Exam, light: bool) -> Fitted:
    """Train a copy and measure its training loss in eval mode; ``light``: without dropout, decay and penalties."""
    with undisturbed():
        loaders = {n: exam.loader(n) for n in LOADERS if getattr(exam.set_up, n) is not None}
        parts = copied(exam.set_up, loaders)
        if not parts.model.training:
            parts.model.train()
        if light:
            _lighten(parts)
        watch = Watch(parts.model, seconds=SECONDS, profile=False, only_data=light)
        result = None
        with watch:
            try:
                if parts.fit is not None:
                    given = parts_of(parts, epoch=0, step=0)
                    given.setdefault("epochs", 30)
                    result = call(parts.fit, given)
                else:
                    _steps(parts, watch)
            except Enough:
                pass
            except NotExaminable:
                raise
            except Exception as error:
                raise NotExaminable(f"the training fails on a copy ({type(error).__name__})") from error
            watch.settle()
        if isinstance(result, torch.nn.Module):
            parts.model.load_state_dict(result.state_dict()) if result is not parts.model and set(result.state_dict()) == set(
                parts.model.state_dict()) else None
        return measured(parts, list(itertools.islice(iter(exam.loader("train_loader")), 16)))


def _steps(parts: SetUp, watch: Watch) -> None:
    if parts.train_step is None or not parts.epochs:
        raise NotExaminable("no fit, and no train_step with epochs")
    step = 0
    for epoch in range(min(EPOCHS, parts.epochs)):
        for batch in parts.train_loader:
            watch.begin_call(step + 1, batch)
            parts.model.train()
            call(parts.train_step, parts_of(parts, batch=batch, step=step, epoch=epoch))
            step += 1
            if watch.late:
                return


def _lighten(parts: SetUp) -> None:
    for module in parts.model.modules():
        if drops(module):
            for name in ("p", "dropout", "rate", "drop_prob", "drop_rate"):
                if isinstance(getattr(module, name, None), float | int):
                    setattr(module, name, 0.0)
    if parts.optimizer is not None:
        for group in parts.optimizer.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0


def measured(parts: SetUp, batches: list[object]) -> Fitted:
    """The clean loss on batches, and that of a constant."""
    parts.model.eval()
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    with torch.no_grad():
        for batch in batches:
            out, target = main_output(run_model(parts.model, batch)), targets_of(batch)
            if out is None or target is None:
                raise NotExaminable("outputs or targets are not known")
            outputs.append(out.float())
            targets.append(target.to(out.device))
        try:
            out, target = torch.cat(outputs), torch.cat(targets)
        except RuntimeError as error:
            raise NotExaminable("batches differ in shape") from error
        loss = loss_of(parts.criterion, out, target)
        constant = _constant(out, target)
        chance = loss_of(parts.criterion, constant, target)
    if loss is None or chance is None or not float(chance) > 0:
        raise NotExaminable("the loss of a constant prediction is not known")
    return Fitted(float(loss), float(chance))


def _constant(out: Tensor, target: Tensor) -> Tensor:
    if not target.is_floating_point() and out.numel() != target.numel():
        axis = 1 if out.shape[0] == target.shape[0] and out.shape[2:] == target.shape[1:] else out.ndim - 1
        classes = out.shape[axis]
        flat = target[target >= 0].flatten().long()
        prior = (torch.bincount(flat, minlength=classes)[:classes].float() + 1e-6)
        shape = [1] * out.ndim
        shape[axis] = classes
        return (prior / prior.sum()).log().reshape(shape).expand_as(out).contiguous()
    shaped = target.float().reshape(out.shape) if target.numel() == out.numel() else target.float().expand_as(out)
    mean = shaped.mean(0, keepdim=True).expand_as(out)
    if bool(((shaped == 0) | (shaped == 1)).all()):
        p = mean.clamp(1e-4, 1 - 1e-4)
        return (p if bool(((out >= 0) & (out <= 1)).all()) else (p / (1 - p)).log()).contiguous()
    return mean.contiguous()

"""Frozen layers that change all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from wellfit.doctor.batches import call, call_with_parts
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import named


def frozen_norms(model: nn.Module) -> dict[str, _NormBase]:
    """Normalisations with running statistics whose own parameters, or whose neighbours' if they have none, are frozen."""
    found = {}
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        return {}
    for name, module in model.named_modules():
        if not isinstance(module, _NormBase) or module.running_mean is None:
            continue
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            found[name] = module
        elif not own and (path := name.rpartition(".")[0]):
            around = list(model.get_submodule(path).parameters())
            if around and not any(p.requires_grad for p in around):
                found[name] = module
    return found


@check("frozen-norms-update", severity="warning", evidence="probe", needs=("train_loader",),
       why="requires_grad=False stops the gradient, not the running statistics: in train mode the frozen layers drift with each "
           "batch, and what stands behind them was fitted to others.",
       source="PyTorch documentation, nn.BatchNorm2d (running statistics move in train mode); Kornblith et al. (2019), "
              "arXiv:1805.08974")
def frozen_norms_update(exam: Exam) -> Iterator[Observed]:
    if not frozen_norms(exam.set_up.model):
        return
    tried = [_moved(exam, trained) for trained in (False, True)]
    moved, how = tried[0]
    if not tried[1][0]:
        return  # its train() leaves them in eval mode; or, where only that moves them, they were put there by hand
    if moved:
        yield Observed(named(list(moved)), f"{how} moves the running mean of {len(moved)} frozen norms by up to "
                                           f"{max(moved.values()):.3g}",
                       "def train(self, mode=True):\n    super().train(mode)\n    for m in self.backbone.modules():\n"
                       "        if isinstance(m, nn.modules.batchnorm._BatchNorm): m.eval()\n    return self")


def _moved(exam: Exam, trained: bool) -> tuple[dict[str, float], str]:
    """Frozen norms whose running mean a training step moves, by how much, and what the step was: in the modes as they are given, or
    after ``model.train()``."""
    parts = exam.fresh()
    model = parts.model
    if trained or not model.training:
        model.train()
    norms = frozen_norms(model)
    before = {n: _mean(m) for n, m in norms.items()}
    how, stepped = "a forward pass in train mode", False
    if parts.train_step is not None:
        with contextlib.suppress(NotExaminable):
            call_with_parts(parts.train_step, parts, batch=exam.batch(), step=0)
            stepped, how = True, "one train_step"
    if not stepped:
        with torch.no_grad():
            call(model, exam.sample().inputs)
    return {n: float((_mean(m) - before[n]).abs().max()) for n, m in norms.items() if not torch.equal(_mean(m), before[n])}, how


def _mean(module: _NormBase) -> Tensor:
    return torch.zeros(0) if module.running_mean is None else module.running_mean.detach().clone()

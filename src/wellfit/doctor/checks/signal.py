"""The scale of inputs, and units that never fire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.doctor.batches import call, first_tensor, taken_apart
from wellfit.doctor.exam import Exam
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import named


@check("inputs-not-normalized", severity="note", evidence="data", needs=("train_loader",),
       why="Columns of very different size make the loss badly conditioned, and the same penalty weighs very differently on "
           "their weights.",
       source="LeCun, Bottou, Orr & Müller (1998), Efficient BackProp, 4.3; Hastie et al. (2009), Elements of Statistical "
              "Learning, 3.4.1")
def inputs_not_normalized(exam: Exam) -> Iterator[Observed]:
    inputs = first_tensor(taken_apart(exam.batch(), exam.set_up.model)[0])
    leaves = [m for m in exam.set_up.model.modules() if not list(m.children())]
    if inputs is None or not inputs.is_floating_point() or inputs.dim() < 2 or len(inputs) < 2 or not leaves:
        return
    if "norm" in type(leaves[0]).__name__.lower():
        return
    columns = inputs.detach().double().movedim(1, -1).flatten(0, -2)
    columns = columns[torch.isfinite(columns).all(1)]
    if len(columns) < 2:
        return
    spread = columns.std(0)
    spread = spread[spread > 0]
    if not len(spread):
        return
    mean, largest, smallest = float(columns.mean(0).abs().max()), float(spread.max()), float(spread.min())
    if largest > 20 or mean > 20 or (largest > 1 and largest / smallest > 100):
        yield Observed("train_loader", f"on the first batch the standard deviations of {columns.shape[1]} columns or channels go "
                                       f"from {smallest:.3g} to {largest:.3g}, and the largest mean is {mean:.3g}",
                       "mean, std = x_train.mean(0), x_train.std(0).clamp_min(1e-8)  # of the training rows only\nx = (x - mean) "
                       "/ std")


@check("dead-units", severity="note", evidence="probe", needs=("train_loader",),
       why="A unit that is zero for every row has no gradient and comes back only by chance: the network is smaller than it looks.",
       source="Lu et al. (2020), Dying ReLU and initialization, arXiv:1903.06733")
def dead_units(exam: Exam) -> Iterator[Observed]:
    model = exam.model(train=False)
    dead: dict[str, tuple[int, int]] = {}

    def hook(name: str) -> Any:
        def count(module: nn.Module, args: Any, out: Tensor) -> None:
            units = (out.detach().movedim(1, -1).flatten(0, -2) if out.dim() > 2 else out.detach()).abs().amax(0)
            dead[name] = (int((units == 0).sum()), units.numel())
        return count
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.register_forward_hook(hook(name))
    sample = exam.sample()
    rows = sample.rows
    if rows < 16:
        return
    with torch.no_grad():
        call(model, sample.inputs)
    bad = {n: d for n, d in dead.items() if d[0] > 0.5 * d[1] and d[1] >= 8}
    if bad:
        yield Observed(named(list(bad)), ", ".join(f"{n}: {d} of {all_} units" for n, (d, all_) in list(bad.items())[:4])
                       + f" are zero for all {rows} rows of a batch",
                       "nn.init.kaiming_normal_(layer.weight, nonlinearity=\"relu\"); nn.init.zeros_(layer.bias)  # and a lower "
                       "learning rate")

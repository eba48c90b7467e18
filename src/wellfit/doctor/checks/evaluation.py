"""What a row's prediction depends on in evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wellfit.doctor.batches import first_tensor, rows_of
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.randomness import random_state_kept
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import named


def row_dependence(exam: Exam) -> float:
    """Change of the first half's outputs in eval mode when the other half of the batch is other rows, relative to their size.

    0 if the batch lies on another axis than the first (sequences first).
    """
    sample = exam.sample()
    count = sample.rows
    if count < 4:
        raise NotExaminable("too few rows in a batch")
    model = exam.model(train=False)
    half = count // 2

    def ends(t: Tensor) -> Tensor:  # the second half is its first row, again and again: values that the model knows
        return torch.cat([t[:half], t[half:half + 1].expand_as(t[half:])])
    with random_state_kept(0):
        plain = exam.output(model, sample.inputs)
    with random_state_kept(0):
        mixed = exam.output(model, rows_of(sample.inputs, ends))
    if plain.dim() == 0 or len(plain) != count:
        return 0.0
    changed = float((plain[:half] - mixed[:half]).double().norm()) / (float(plain[:half].double().norm()) or 1.0)
    return 0.0 if changed > 1e-3 and _batch_is_second(exam, model) else changed


def _batch_is_second(exam: Exam, model: nn.Module) -> bool:
    """Whether axis 1 of the inputs holds the batch: changing one half of it leaves the outputs of the other half as they are."""
    inputs = exam.sample().inputs
    first = first_tensor(inputs)
    if first is None or first.dim() < 2 or first.shape[1] < 2:
        return False
    width, half = first.shape[1], first.shape[1] // 2

    def ends(t: Tensor) -> Tensor:
        if t.dim() < 2 or t.shape[1] != width:
            return t
        return torch.cat([t[:, :half], t[:, half:half + 1].expand_as(t[:, half:])], 1)
    with random_state_kept(0):
        plain = exam.output(model, inputs)
    with random_state_kept(0):
        mixed = exam.output(model, rows_of(inputs, ends))
    for axis in (1, 0):
        if plain.dim() > axis and plain.shape[axis] == width:
            kept, moved = plain.narrow(axis, 0, half), mixed.narrow(axis, 0, half)
            if float((kept - moved).double().norm()) <= 1e-5 * float(kept.double().norm()):
                return True
    return False


def _compares_rows(exam: Exam) -> bool:
    """Whether the output is a table of rows against rows, as of contrastive networks."""
    sample = exam.sample()
    return tuple(exam.output(exam.model(train=False), sample.inputs).shape) == (sample.rows, sample.rows)


@check("batch-statistics-in-eval", severity="error", evidence="probe",
       why="A row's prediction depends on which rows it is evaluated with, so the metric depends on the batch size and the "
           "order, and a single row cannot be predicted at all.",
       source="Ioffe & Szegedy (2015), Batch Normalization, arXiv:1502.03167, 3.1: inference uses the population's statistics")
def batch_statistics_in_eval(exam: Exam) -> Iterator[Observed]:
    model = exam.set_up.model
    if (size := exam.once(row_dependence)) <= 1e-3:
        return
    modules = dict(exam.model(train=False).named_modules())
    norms = [n for n, m in modules.items() if isinstance(m, _BatchNorm) and (m.training or m.running_mean is None)]
    said = f"in eval mode, other rows in the second half of the batch change the first half's outputs by {size:.2g} of their norm"
    if norms:
        left = modules[norms[0]].training
        yield Observed(named(norms), said + f"; {len(norms)} batch norms use the batch's statistics "
                       + ("(eval() leaves them in train mode)" if left else "(they keep no running ones)"),
                       "model.eval()  # and do not override train() so that the norms stay in train mode" if left else
                       f"{type(modules[norms[0]]).__name__}(..., track_running_stats=True)  # or LayerNorm / GroupNorm")
        return
    if _compares_rows(exam):
        return
    yield Observed(type(model).__name__, said,
                   "x = F.batch_norm(x, self.running_mean, self.running_var, training=self.training)\n"
                   "# nothing of the batch (mean, sort, similarity) may enter a row's prediction in eval mode", "warning")

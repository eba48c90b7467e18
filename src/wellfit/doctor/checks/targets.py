"""What the criterion is given: targets softened twice, probabilities in place of logits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.doctor.batches import call, call_with_parts, device_of, main_output, taken_apart
from wellfit.doctor.copies import to_device
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.watch import Calls, watching


@dataclass(frozen=True)
class Losses:
    """Calls of torch's losses in one training step, ``(function, arguments)``, and where they were seen."""

    calls: list[tuple[str, dict[str, Any]]]
    where: str


def losses(exam: Exam) -> Losses:
    """What torch's loss functions are called with: by ``train_step`` if there is one, else by the criterion on a training batch."""
    if exam.set_up.train_step is not None and exam.set_up.train_loader is not None:
        parts = exam.fresh()
        with watching(parts.model.train()) as calls:
            call_with_parts(parts.train_step, parts, batch=exam.batch(), step=0)  # type: ignore[arg-type]
        if calls.losses:
            return Losses(calls.losses, "train_step")
    return Losses(_by_criterion(exam).losses, "criterion")


def _by_criterion(exam: Exam) -> Calls:
    if exam.set_up.train_loader is None:
        raise NotExaminable("no train_loader")
    parts = exam.fresh()
    model = parts.model.train()
    sample = exam.sample()
    with watching(model) as calls, torch.no_grad():
        if parts.criterion is None:
            with contextlib.suppress(TypeError):  # a model that is given the targets computes its own loss
                batch = to_device(exam.batch(), device_of(model))
                model(**batch) if isinstance(batch, dict) else None
            return calls
        out = call(model, sample.inputs)
        try:
            parts.criterion(out, sample.targets)
        except (TypeError, AttributeError, RuntimeError):
            parts.criterion(main_output(out), sample.targets)
    return calls


@check("targets-softened-twice", severity="warning", evidence="data", needs=("train_loader", "criterion|train_step"),
       why="Each softening takes probability from the right class; together the targets are softer than either number says.",
       source="Müller, Kornblith & Hinton (2019), When does label smoothing help?, arXiv:1906.02629")
def targets_softened_twice(exam: Exam) -> Iterator[Observed]:
    found = exam.once(losses)
    for name, arguments in found.calls:
        smoothing = float(arguments.get("label_smoothing") or 0.0)
        target = arguments.get("target")
        if name == "cross_entropy" and smoothing > 0 and isinstance(target, Tensor) and target.is_floating_point():
            floor = softened(target)
            if floor is not None:
                yield Observed(found.where, f"the targets that reach cross_entropy hold at least {floor:.3g} for every class "
                                            f"already, and label_smoothing={smoothing:g} softens them again (together "
                                            f"{_both(floor, smoothing, target):.3g} of the probability is off the right class)",
                               "criterion = nn.CrossEntropyLoss()  # the targets are soft\n# or keep label_smoothing and hand it "
                               "class numbers")
                return
    own = _own_smoothing(exam)
    if own is None or found.where == "train_step":
        return
    targets = taken_apart(exam.batch(), exam.set_up.model)[1]
    floor = softened(targets) if isinstance(targets, Tensor) else None
    if floor is not None:
        yield Observed("criterion", f"targets of train_loader hold at least {floor:.3g} for every class, and the criterion takes "
                                    f"away another {own:.3g} (measured on sure predictions)",
                       "# soften in one place: class numbers from the loader, or a criterion without smoothing")


def softened(target: Tensor) -> float | None:
    """The probability that every class has at the least, if targets are distributions without a zero; None otherwise.

    Targets mixed of two one-hot rows have zeros, and are not meant.

    >>> softened(torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])) is not None, softened(torch.eye(3))
    (True, None)
    """
    if not target.is_floating_point() or target.dim() < 2 or target.shape[1] < 2:
        return None
    rows = target.detach().double().movedim(1, -1).flatten(0, -2)
    if not torch.allclose(rows.sum(1), torch.ones(len(rows), dtype=rows.dtype, device=rows.device), atol=1e-3):
        return None
    floors = rows.min(1).values
    return float(floors.median()) if float((floors > 1e-6).double().mean()) > 0.9 else None


def _both(floor: float, smoothing: float, target: Tensor) -> float:
    classes = target.shape[1]
    top = float(target.detach().max(1).values.double().median())
    return 1 - ((1 - smoothing) * top + smoothing / classes)


def _own_smoothing(exam: Exam) -> float | None:
    """ε of a criterion, from its growth on ever surer right predictions; None if it does not smooth or takes no class numbers."""
    parts = exam.fresh()
    targets = taken_apart(exam.batch(), exam.set_up.model)[1]
    if parts.criterion is None or not isinstance(targets, Tensor) or targets.dim() != 2 or targets.shape[1] < 2:
        return None
    classes = targets.shape[1]
    truth = torch.arange(classes, device=targets.device)
    hot = torch.eye(classes, dtype=targets.dtype, device=targets.device)
    values = []
    for size in (40.0, 80.0):
        try:
            values.append(float(parts.criterion(size * hot.float(), hot)))
        except Exception:
            try:
                values.append(float(parts.criterion(size * hot.float(), truth)))
            except Exception:
                return None
    found = (values[1] - values[0]) / 40 * classes / (classes - 1)
    return found if found > 1e-3 else None


# ----------------------------------------------------------------------------------------------------- probabilities


@check("softmax-before-cross-entropy", severity="error", evidence="probe", needs=("train_loader", "criterion|train_step"),
       why="Cross-entropy takes the softmax itself. Of probabilities it can reach no value below ln(1 + (K-1)/e), gradients are "
           "small, and the network looks heavily regularized.",
       source="PyTorch documentation, nn.CrossEntropyLoss: the input is expected to contain the unnormalized logits")
def softmax_before_cross_entropy(exam: Exam) -> Iterator[Observed]:
    found = exam.once(losses)
    for name, arguments in found.calls:
        given = arguments.get("input")
        if not isinstance(given, Tensor) or given.numel() < 4:
            continue
        if name in ("cross_entropy", "nll_loss") and given.dim() >= 2 and given.shape[1] > 1:
            sums = given.detach().double().sum(1)
            if bool((given >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
                yield Observed(found.where, f"the {given.shape[1]} scores of each row that reach {name} lie in "
                                            f"[{float(given.min()):.3g}, {float(given.max()):.3g}] and sum to 1",
                               "return self.head(x)  # logits; softmax only where probabilities are "
                               "read" if name == "cross_entropy" else
                               "return F.log_softmax(self.head(x), dim=1)  # nll_loss wants log-probabilities")
                return
        if name == "binary_cross_entropy_with_logits" and _ends_in_sigmoid(exam, given):
            yield Observed(found.where, f"the scores that reach {name} lie in [{float(given.min()):.3g}, "
                                        f"{float(given.max()):.3g}], and stay in [0, 1] when the network's weights are ten times "
                                        "as large", "return self.head(x)  # logits, no sigmoid")
            return


def _ends_in_sigmoid(exam: Exam, given: Tensor) -> bool:
    """Whether outputs stay between 0 and 1 whatever the weights."""
    if not bool(((given >= 0) & (given <= 1)).all()):
        return False
    model = exam.model(train=False)
    weights = [p for p in model.parameters() if p.dim() >= 2] or list(model.parameters())
    with torch.no_grad():
        for number, weight in enumerate(weights):
            generator = torch.Generator().manual_seed(number)
            weight.mul_(10).add_(weight.abs().mean() * torch.randn(weight.shape, generator=generator).to(weight))
    out = exam.output(model, exam.sample().inputs)
    return bool(((out >= 0) & (out <= 1)).all()) and float(out.max() - out.min()) > 0 and not _is_relu_cut(model)


def _is_relu_cut(model: nn.Module) -> bool:
    return isinstance(list(model.modules())[-1], nn.ReLU | nn.ReLU6)

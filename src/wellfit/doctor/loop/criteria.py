"""The data loss: which criterion gave the gradient that arrived at an output, and with which factor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Criterion = Callable[[Tensor, Tensor], Tensor]

_GUESSES: tuple[Criterion, ...] = (F.cross_entropy, F.binary_cross_entropy_with_logits, F.mse_loss, F.nll_loss, F.l1_loss,
                                   F.smooth_l1_loss, F.binary_cross_entropy)


@dataclass(frozen=True)
class Matched:
    """``loss = factor · criterion(outputs, targets)``; ``value`` is the criterion's."""

    factor: float
    value: float


def targets_of(batch: Any) -> Tensor | None:
    """The targets of a batch: the last of a tuple, or what is called so in a mapping."""
    if isinstance(batch, Mapping):
        for name in ("labels", "label", "targets", "target", "y"):
            if isinstance(batch.get(name), Tensor):
                return batch[name]
        return None
    if isinstance(batch, tuple | list) and len(batch) >= 2 and isinstance(batch[-1], Tensor):
        return batch[-1]
    return None


def inputs_of(batch: Any) -> Any:
    """The inputs of a batch."""
    if isinstance(batch, Mapping):
        return {k: v for k, v in batch.items() if k not in ("labels", "label", "targets", "target", "y")}
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return batch[0] if len(batch) == 2 else tuple(batch[:-1])
    return batch


def main_output(outputs: Any) -> Tensor | None:
    """The tensor among what a model returns that is compared with the targets."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        for name in ("logits", "output", "outputs", "pred", "prediction", "out"):
            if isinstance(outputs.get(name), Tensor):
                return outputs[name]
        outputs = list(outputs.values())
    if isinstance(outputs, tuple | list):
        tensors = [t for t in outputs if isinstance(t, Tensor) and t.is_floating_point() and t.ndim]
        return tensors[0] if tensors else None
    return None


def run_model(model: nn.Module, batch: Any) -> Any:
    """What the model returns for the inputs of a batch."""
    inputs = inputs_of(batch)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def there(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value
    if isinstance(inputs, Mapping):
        return model(**{k: there(v) for k, v in inputs.items()})
    if isinstance(inputs, tuple | list):
        return model(*(there(v) for v in inputs))
    return model(there(inputs))


def loss_of(criterion: Criterion | None, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """The criterion's value, however the two have to be laid out for it; None if it takes neither layout."""
    for out, target in _layouts(outputs, targets):
        for one in ([criterion] if criterion is not None else _GUESSES[:3]):
            try:
                value = one(out, target)
            except Exception:
                continue
            if isinstance(value, Tensor) and value.numel() == 1 and value.isfinite().all():
                return value
    return None


def match(v: Tensor, outputs: Tensor, targets: Tensor | None, criterion: Criterion | None) -> Matched | None:
    """The factor with which the gradient ``v`` is that of a criterion; None if it is that of no criterion that is known."""
    if targets is None or not v.count_nonzero():
        return None
    tolerance = 1e-3 if outputs.dtype in (torch.float32, torch.float64) else 3e-2
    v = v.double()
    for one in ([criterion] if criterion is not None else []) + list(_GUESSES):
        leaf = outputs.detach().clone()
        leaf = (leaf if leaf.dtype == torch.float64 else leaf.float()).requires_grad_()
        for out, target in _layouts(leaf, targets):
            try:
                value = one(out, target)
                reference = torch.autograd.grad(value, leaf)[0].double()
            except Exception:
                continue
            size = float(reference.square().sum())
            if size == 0 or not reference.isfinite().all():
                continue
            factor = float((v * reference).sum()) / size
            if factor > 0 and float((v - factor * reference).norm()) <= tolerance * float(v.norm()):
                return Matched(factor, float(value))
    return None


def _layouts(out: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield out, target
    if out.shape != target.shape and out.numel() == target.numel():
        yield out.reshape(target.shape), target
        yield out.reshape(target.shape), target.to(out.dtype)
        yield out, target.reshape(out.shape).to(out.dtype)
    if not target.is_floating_point() and out.shape == target.shape:
        yield out, target.to(out.dtype)
    if out.ndim >= 3 and target.ndim == out.ndim - 1:
        yield out.flatten(0, -2), target.flatten()
        if out.ndim == 3:
            yield out.transpose(1, 2), target
    if out.ndim >= 3 and out.shape[0] == target.shape[0] and target.shape == out.shape[:2]:  # next token
        yield out[:, :-1].flatten(0, -2), target[:, 1:].flatten()
    if target.ndim == 2 and target.shape[1] == 1:
        yield out, target[:, 0]

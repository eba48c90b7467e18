"""What each parameter is for: a weight, a bias, a gain of a normalisation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from wellfit.core.select import WEIGHT_KINDS, describe_parameters
from wellfit.doctor.exam import Exam


@dataclass(frozen=True)
class Role:
    """A trainable parameter.

    Attributes:
        name: its first name in the model.
        kind: "weight", "bias", "gain" (of a normalisation, or a vector that scales) or "other".
        decay, group: weight decay and number of its group in the optimizer; None if it is in none.
    """

    name: str
    kind: str
    parameter: nn.Parameter
    decay: float | None
    group: int | None


def roles(exam: Exam) -> list[Role]:
    """Every trainable parameter of the model, tied ones once."""
    return roles_of(exam.set_up.model, exam.set_up.optimizer)


def roles_of(model: nn.Module, optimizer: Optimizer | None = None) -> list[Role]:
    place: dict[int, tuple[float, int]] = {}
    for number, group in enumerate(optimizer.param_groups if optimizer is not None else ()):
        for parameter in group["params"]:
            place[id(parameter)] = (decay_of(group), number)
    found = []
    for name, (info, parameter) in describe_parameters(model).items():
        decay, number_or_none = place.get(id(parameter), (None, None))
        path, _, own = name.rpartition(".")
        kind = _kind(info.kind, parameter, model.get_submodule(path), own)
        found.append(Role(name, kind, parameter, decay, number_or_none))
    return found


def decay_of(group: dict) -> float:  # type: ignore[type-arg]
    """Weight decay of a parameter group; 0 if the optimizer has none.

    >>> decay_of({"weight_decay": 0.1}), decay_of({"lr": 1.0})
    (0.1, 0.0)
    """
    value = group.get("weight_decay", 0.0)
    try:
        return float(value or 0.0)
    except (TypeError, ValueError):
        return 0.0


def _kind(kind: str, parameter: Tensor, owner: nn.Module, own: str) -> str:
    flat = parameter.numel() == max(parameter.shape, default=1)  # (D), (1, D, 1, 1): one number for each feature
    if kind == "norm":
        return "bias" if "bias" in own else "gain"
    if kind == "bias":
        return "bias" if flat else "other"
    if kind in (*WEIGHT_KINDS, "factor"):
        return "weight"
    if flat and (kind == "other") and not isinstance(owner, nn.PReLU):
        called = type(owner).__name__.lower()
        if "norm" in called or "scale" in called or "scale" in own or own in ("gamma", "gain", "beta"):
            return "bias" if own in ("bias", "beta") else "gain"
        if parameter.numel() > 1 and bool((parameter.detach() == parameter.detach().flatten()[0]).all()):
            return "bias" if not bool(parameter.detach().any()) else "gain"  # it starts as a constant, as only these do
    return "weight" if parameter.dim() >= 2 and isinstance(owner, nn.Linear) else "other"


def named(names: list[str], at_most: int = 4) -> str:
    """A few names.

    >>> named(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")

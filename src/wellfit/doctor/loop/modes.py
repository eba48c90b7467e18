"""Modules that behave otherwise in training than in evaluation."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def drops(module: nn.Module) -> bool:
    """Whether a module drops values while it is in train mode."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return float(module.dropout) > 0 and getattr(module, "num_layers", 2) > 1
    name = type(module).__name__.lower()
    if list(module.children()) or not any(word in name for word in ("dropout", "droppath", "stochasticdepth", "dropblock")):
        return False
    rate = next((getattr(module, n) for n in ("p", "rate", "drop_prob", "drop_rate") if hasattr(module, n)), 0)
    return isinstance(rate, int | float) and rate > 0


def takes_statistics(module: nn.Module) -> bool:
    """Whether a module uses the statistics of its batch while it is in train mode."""
    return isinstance(module, _BatchNorm)


def moved_by_mode(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if drops(m) or takes_statistics(m)]

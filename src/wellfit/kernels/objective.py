"""The losses of the built-in networks: means over the batch axis, so () for one network and (K,) for K."""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean over the batch of Σ_c w_c · y_c · (-log p_c).

    ``logits`` (..., B, C); ``targets`` classes (..., B) or probabilities (..., B, C); ``class_weights`` (C,). The mean
    divides by B, also with weights, so that hard targets and their one-hot form give the same value.

    >>> round(float(cross_entropy(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))), 4)
    0.6931
    """
    log_p = torch.log_softmax(logits, dim=-1)
    if targets.dtype.is_floating_point:
        weighted = targets * class_weights if class_weights is not None else targets
        return -(weighted * log_p).sum(-1).mean(-1)
    own = log_p.gather(-1, targets[..., None]).squeeze(-1)
    return -(own * class_weights[targets] if class_weights is not None else own).mean(-1)


def squared_error(outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean over the batch of (output - target)²: ``outputs`` (..., B, 1), ``targets`` (..., B).

    >>> float(squared_error(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0])))
    2.0
    """
    return (outputs.squeeze(-1) - targets).square().mean(-1)

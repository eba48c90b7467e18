"""What happens inside a trained network: dead and saturated units, and gradients from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from wellfit.diagnosis.measures.surface import Surface, as_it_was

_RECTIFIERS = {torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu, functional.relu6}
_SQUASHERS = {torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_, torch.sigmoid, Tensor.sigmoid, functional.tanh,
               functional.sigmoid}
VANISHING = EXPLODING = 1e3


@dataclass(frozen=True)
class Units:
    """Units that no longer work.

    Attributes:
        dead: share of the units of each ReLU, in the order of the forward pass, that are zero on every row.
        saturated: share of the values of each tanh or sigmoid beyond 99% of its range.
    """

    dead: tuple[float, ...]
    saturated: tuple[float, ...]


class _Watch(TorchFunctionMode):
    """Sees every activation, whether it is a module or a function call."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[Tensor] = []
        self.squashed: list[float] = []

    def __torch_function__(self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _RECTIFIERS and out.ndim >= 2:
            self.alive.append(out.detach() > 0)
        elif func in _SQUASHERS:
            near = out.detach()
            share = (near.abs() > 0.99) if "tanh" in func.__name__ else ((near - 0.5).abs() > 0.49)
            self.squashed.append(float(share.double().mean()))
        return out


@torch.no_grad()
def units(surface: Surface) -> Units:
    """Dead and saturated units on the rows of a surface, in evaluation mode.

    A unit is a column of (n, D), a channel of (n, C, ...); of (n, T, D) a column of whichever axis has more dead ones. A dead
    ReLU gets no gradient and stays dead: many of them point to a learning rate that was once too high, or to decay on biases.

    Source: Lu et al. 2019, "Dying ReLU and initialization".
    """
    with as_it_was(surface.module), _Watch() as watch:
        surface.outputs(surface.weights, surface.inputs)
    return Units(tuple(_dead(a) for a in watch.alive), tuple(watch.squashed))


def _dead(alive: Tensor) -> float:
    axes = (1, 2) if alive.ndim == 3 else (1,)
    shares = [float((~alive.transpose(0, axis).flatten(1).any(dim=1)).double().mean()) for axis in axes]
    return max(shares)


@dataclass(frozen=True)
class Gradients:
    """Sizes of gradients, layer by layer.

    Attributes:
        relative: ‖dL/dw‖ / ‖w‖ of every weight matrix or kernel, by name, in the order of the network.
        ratio: the first layer's over the last one's.
        vanishing, exploding: the ratio is below 1/1000, or above 1000 or no number.
    """

    relative: dict[str, float]
    ratio: float
    vanishing: bool
    exploding: bool


def gradients(surface: Surface) -> Gradients:
    """Gradients layer by layer, each relative to its weights, so that the units of a layer do not matter.

    Best measured on a network that has just begun to learn: at a minimum all gradients are small and only their ratio speaks.

    Source: Glorot and Bengio 2010; the relative size follows You et al. 2017 (LARS).
    """
    slopes = surface.gradient(surface.weights)
    relative = {n: float(slopes[n].double().norm() / w.double().norm().clamp_min(1e-12))
                for n, w in surface.weights.items() if w.ndim >= 2}
    if not relative:
        return Gradients({}, float("nan"), False, False)
    sizes = list(relative.values())
    ratio = sizes[0] / max(sizes[-1], 1e-30) if np.isfinite(sizes).all() else float("inf")
    return Gradients(relative, ratio, max(sizes) > 0 and ratio < 1 / VANISHING, ratio > EXPLODING)

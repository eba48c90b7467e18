"""The built-in network: a multilayer perceptron, as a module and as K stacked networks over flat memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitError, nearest
from wellfit.core.operands import WeightInfo

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu, "selu": torch.selu, "silu": functional.silu, "gelu": functional.gelu, "tanh": torch.tanh,
}
NORM_MOMENTUM, NORM_EPSILON = 0.1, 1e-5


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of the built-in network: inputs D, hidden widths, outputs C, activation."""

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise WellfitError("Unknown activation.", received=repr(self.activation), expected=", ".join(ACTIVATIONS),
                               action=f"did you mean {hint}?" if (hint := nearest(self.activation, ACTIVATIONS)) else None)
        if min(self.inputs, self.outputs, *self.hidden, 1) < 1 or not self.hidden:
            raise WellfitError("A network needs at least one input, one hidden unit and one output.", received=repr(self))

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.inputs, *self.hidden, self.outputs)

    @property
    def depth(self) -> int:
        """Number of linear layers."""
        return len(self.hidden) + 1

    def branch_depths(self) -> dict[int, float]:
        """Relative depth of each hidden layer that may carry a skip: those that keep the width."""
        keeping = [i for i in range(1, len(self.hidden)) if self.hidden[i] == self.hidden[i - 1]]
        return {layer: (n + 1) / len(keeping) for n, layer in enumerate(keeping)}

    def shapes(self, norm: bool = False) -> dict[str, tuple[int, ...]]:
        """Parameter names and shapes, in the order of the flat memory: the weight matrices first, so that one view holds them
        all."""
        pairs = list(enumerate(zip(self.widths, self.widths[1:], strict=False)))
        out: dict[str, tuple[int, ...]] = {f"layers.{i}.weight": (width, fan_in) for i, (fan_in, width) in pairs}
        for i, (_, width) in pairs:
            out[f"layers.{i}.bias"] = (width,)
            if norm and i < len(self.hidden):
                out[f"layers.{i}.wellfit_norm.weight"] = out[f"layers.{i}.wellfit_norm.bias"] = (width,)
        return out

    @property
    def matrix_size(self) -> int:
        """Number of weights without biases and norms."""
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    @property
    def parameters(self) -> int:
        return sum(math.prod(s) for s in self.shapes().values())

    def infos(self, norm: bool, feature_groups: Tensor | None) -> dict[str, WeightInfo]:
        """What is known of each parameter; equal to what ``describe_parameters`` finds on the module."""
        out: dict[str, WeightInfo] = {}
        for name, shape in self.shapes(norm).items():
            layer = int(name.split(".")[1])
            place: dict[str, Any] = {"shape": shape, "depth": layer / len(self.hidden), "layers_behind": len(self.hidden) - layer}
            if "wellfit_norm" in name:
                out[name] = WeightInfo(name, "norm", **place)
            elif name.endswith("bias"):
                out[name] = WeightInfo(name, "bias", **place)
            else:
                first = layer == 0
                out[name] = WeightInfo(name, "linear", (-1,), (-2,), first=first, last=layer == len(self.hidden),
                                       feeds_norm=norm and layer < len(self.hidden),
                                       feature_groups=feature_groups if first else None, **place)
        return out


def initial(spec: NetworkSpec, streams: Streams, name: str, shape: tuple[int, ...]) -> Tensor:
    """torch's default start, U(-1/√fan_in, 1/√fan_in), drawn from the member's own stream; norms start at 1 and 0."""
    members = () if streams.solo else (len(streams.seeds),)
    if "wellfit_norm" in name:
        return torch.full((*members, *shape), 1.0 if name.endswith("weight") else 0.0, dtype=torch.float64)
    fan_in = spec.widths[int(name.split(".")[1])]
    return streams.at(f"init/{name}", 0).uniform(shape).mul_(2).sub_(1).mul_(fan_in**-0.5)


class MLP(nn.Module):
    """Multilayer perceptron: x → [linear → activation] × depth → linear, shapes (B, D) → (B, C).

    Args:
        inputs, hidden, outputs: widths.
        activation: relu, selu, silu, gelu or tanh.
        seed: of the initial weights.

    >>> MLP(4, (8, 8), 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...] = (256, 256), outputs: int = 1, activation: str = "relu", *,
                 seed: int = 0, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.spec = NetworkSpec(inputs, tuple(hidden), outputs, activation)
        widths = self.spec.widths
        self.layers = nn.ModuleList(nn.Linear(a, b, dtype=dtype) for a, b in zip(widths, widths[1:], strict=False))
        self.skip = False
        self._depths = self.spec.branch_depths()
        self.branch_points = nn.ModuleDict({str(layer): nn.Identity() for layer in self._depths})
        streams = Streams(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(initial(self.spec, streams, name, tuple(parameter.shape)))

    @property
    def branches(self) -> list[tuple[nn.Module, float]]:
        """Residual branches and their relative depth."""
        return [(self.branch_points[str(layer)], depth) for layer, depth in self._depths.items()]

    def forward(self, x: Tensor) -> Tensor:
        act = ACTIVATIONS[self.spec.activation]
        for i, layer in enumerate(self.layers[:-1]):
            value = act(layer(x))
            x = x + self.branch_points[str(i)](value) if self.skip and i in self._depths else value
        return self.layers[-1](x)  # type: ignore[no-any-return]


class Flat:
    """K parameter vectors in one (K, P) tensor, with a view per parameter: (K, *shape), members outermost."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], values: Tensor):
        self.shapes, self.values = shapes, values
        self.views: dict[str, Tensor] = {}
        start = 0
        for name, shape in shapes.items():
            size = math.prod(shape)
            self.views[name] = values[:, start:start + size].view(len(values), *shape)
            start += size

    @classmethod
    def zeros(cls, shapes: dict[str, tuple[int, ...]], members: int, dtype: torch.dtype, device: Any) -> Flat:
        size = sum(math.prod(s) for s in shapes.values())
        return cls(shapes, torch.zeros(members, size, dtype=dtype, device=device))

    def keep(self, members: Tensor) -> Flat:
        return Flat(self.shapes, self.values[members].contiguous())


def forward(spec: NetworkSpec, weights: dict[str, Tensor], x: Tensor, *, skip: bool | Tensor = False,
            norm: Callable[[int, Tensor], Tensor] | None = None, hidden: Callable[[int, Tensor], Tensor] | None = None,
            branch: Callable[[int, float, Tensor], Tensor] | None = None) -> Tensor:
    """K networks on K batches (K, B, D), or on one shared batch (B, D): (K, B, C). The twin of :meth:`MLP.forward`.

    ``skip`` may be (K, 1, 1) zeros and ones: which of the networks have skip connections.
    """
    act = ACTIVATIONS[spec.activation]
    depths = spec.branch_depths()
    sites = {layer: site for site, layer in enumerate(depths)}
    for i in range(spec.depth):
        weight, bias = weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]
        entering = hidden(i - 1, x) if hidden is not None and i > 0 else x
        if entering.ndim == 2:  # one batch for all: a single large product
            members, width = weight.shape[:2]
            z = (entering @ weight.reshape(members * width, -1).T).view(-1, members, width).transpose(0, 1) + bias[:, None, :]
        else:
            z = torch.baddbmm(bias[:, None, :], entering, weight.transpose(1, 2))
        if i == spec.depth - 1:
            return z
        if norm is not None:
            z = norm(i, z)
        value = act(z)
        if skip is not False and i in depths:
            carried = x * skip if isinstance(skip, Tensor) else x
            x = carried + (branch(sites[i], depths[i], value) if branch is not None else value)
        else:
            x = value
    raise AssertionError("unreachable: the last layer returns")

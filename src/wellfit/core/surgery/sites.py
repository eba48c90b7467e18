"""Where activations are met: the inputs of layers, and the dropout modules that a network has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from wellfit.core.operands import Site
from wellfit.core.surgery import order

_INPUT_NAMES = ("input", "query", "x", "hidden_states", "inputs")
_ATTENTION_INPUTS = ("query", "key", "value")


@dataclass(frozen=True)
class Place:
    """A module at which activations are met; ``key`` names its random stream."""

    index: int
    key: str
    name: str
    module: nn.Module
    kind: str
    batch_first: bool

    def site(self, activation: Tensor) -> Site:
        """The axes of one activation that was met here."""
        dims, module = activation.ndim, self.module
        space = _space(module, dims)
        if space:
            batch = -(space + 2) if dims >= space + 2 else None
            return Site(self.index, self.name, self.kind, batch, -(space + 1), None, tuple(range(-space, 0)),
                        activation.shape[-(space + 1)])
        if dims < 2:
            return Site(self.index, self.name, self.kind, None, -1, None, (), activation.shape[-1] if dims else 1)
        sequence = self.kind in ("recurrent", "attention") and not isinstance(module, nn.RNNCellBase)
        if dims == 2:
            batch, time = (None, -2) if sequence else (-2, None)
        else:
            batch, time = (-dims, -2) if self.batch_first else (-2, -dims)
        positions = tuple(a for a in range(-dims, -1) if a != batch)
        return Site(self.index, self.name, self.kind, batch, -1, time, positions, activation.shape[-1])


def _space(module: nn.Module, dims: int) -> int:
    """Number of spatial axes, 0 where channels come last."""
    if isinstance(module, _ConvNd):
        return len(module.kernel_size)
    if isinstance(module, _DropoutNd):
        return dims - 2 if dims > 3 else 1 if dims == 3 and isinstance(module, nn.Dropout1d | nn.FeatureAlphaDropout) else 0
    return 0


def hidden_places(model: nn.Module, example: Any = None) -> list[Place]:
    """The inputs of every layer but the first; embeddings read indices, which nothing is dropped from."""
    after_first = order.layers(model, example)[1:]
    default = sequence_first(model)
    found = [(n, m) for n, m in after_first if not isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    return [Place(i, str(i), n, m, _kind(m), getattr(m, "batch_first", not default)) for i, (n, m) in enumerate(found)]


def sequence_first(model: nn.Module) -> bool:
    """Whether sequences are (T, B, D) here: what the recurrent and attention layers say, if they agree."""
    said = {m.batch_first for m in model.modules() if isinstance(m, nn.RNNBase | nn.MultiheadAttention)}
    return said == {False}


def _kind(module: nn.Module) -> str:
    if isinstance(module, _ConvNd):
        return "convolution"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "recurrent"
    return "attention" if isinstance(module, nn.MultiheadAttention) else "linear"


def meet_inputs(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any],
                act: Callable[[Tensor], Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with ``act`` on the activation among them. Query, key and value that are one tensor stay one."""
    attention = isinstance(module, nn.MultiheadAttention)
    kwargs, values = dict(kwargs), list(args)
    known: dict[int, Any] = {}

    def met(value: Any) -> Any:
        if id(value) not in known:
            known[id(value)] = _on_activation(value, act)
        return known[id(value)]

    for n in range(min(len(values), 3 if attention else 1)):
        values[n] = met(values[n])
    for name in _ATTENTION_INPUTS if attention else (() if args else _INPUT_NAMES):
        if name in kwargs:
            kwargs[name] = met(kwargs[name])
    return tuple(values), kwargs


def _on_activation(value: Any, act: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, PackedSequence):
        padded, lengths = pad_packed_sequence(value, batch_first=True)
        return pack_padded_sequence(act(padded), lengths, batch_first=True, enforce_sorted=value.sorted_indices is None)
    if isinstance(value, Tensor) and value.is_floating_point() and not value.is_nested:
        return act(value)
    return value

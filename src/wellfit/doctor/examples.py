"""Inputs for a model of which no batch is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from wellfit.doctor.batches import call, device_of, first_tensor, main_output, rows_of
from wellfit.doctor.copies import NotExaminable, to_device

COUNT = 16


def invented(model: nn.Module) -> Any:
    """Sixteen rows that the model runs on: its own example (``example_input_array``, ``dummy_inputs``) repeated, or noise shaped
    after its first layer.

    Raises:
        NotExaminable: it runs on none of them.
    """
    generator = torch.Generator().manual_seed(0)
    for inputs in _candidates(model, generator):
        placed = to_device(inputs, device_of(model))
        try:
            with torch.no_grad():
                out = main_output(call(model, placed))
        except Exception:
            continue
        if out.dim() and len(out) == len(first_tensor(placed)):  # type: ignore[arg-type]
            return placed
    raise NotExaminable("no loader, and no input is known that the model runs on")


def _lengths(model: nn.Module) -> list[int]:
    """Lengths of sequences that a model may want: twelve, and those of its learned positions."""
    tables = [*model.parameters(), *model.buffers()]
    positions = [n for t in tables if t.dim() == 3 and 1 in t.shape[:2] for n in t.shape[:2] if n > 1]
    return list(dict.fromkeys([12, *positions[:4], 8, 32, 64]))


def _candidates(model: nn.Module, generator: torch.Generator) -> Iterator[Any]:
    for name in ("example_input_array", "dummy_inputs"):
        try:
            example = getattr(model, name, None)
        except Exception:
            example = None
        if isinstance(example, torch.Tensor | Mapping | tuple) and (first := first_tensor(example)) is not None and first.dim():
            if len(first) == 1:
                example = rows_of(example, lambda t: t.expand(COUNT, *t.shape[1:]).clone())
            yield dict(example) if isinstance(example, Mapping) else example

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(COUNT, *shape, generator=generator)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            for shape in (*((COUNT, length) for length in _lengths(model)), (COUNT,)):
                yield torch.randint(0, module.num_embeddings, shape, generator=generator)
        elif isinstance(module, nn.Conv1d):
            yield from (noise(module.in_channels, n) for n in (64, 256))
        elif isinstance(module, nn.Conv2d):
            yield from (noise(module.in_channels, n, n) for n in (32, 28, 64, 8, 224))
        elif isinstance(module, nn.Conv3d):
            yield noise(module.in_channels, 16, 16, 16)
        elif isinstance(module, nn.RNNBase):
            yield noise(12, module.input_size)
        elif isinstance(module, nn.TransformerEncoderLayer):
            yield noise(12, module.self_attn.embed_dim)
        elif isinstance(module, nn.Linear):
            yield noise(module.in_features)
            yield noise(12, module.in_features)
            side = round(module.in_features ** 0.5)
            if side * side == module.in_features:
                yield noise(1, side, side)
        elif isinstance(module, nn.BatchNorm1d | nn.LayerNorm):
            width = module.num_features if isinstance(module, nn.BatchNorm1d) else module.normalized_shape[-1]
            yield noise(int(width))
        else:
            continue
        return

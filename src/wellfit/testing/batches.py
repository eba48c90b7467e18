"""Checks of what maps a training batch."""

from __future__ import annotations

import torch

from wellfit.core.batches import apply_part
from wellfit.core.draws import Streams
from wellfit.core.operands import Batch
from wellfit.kernels.mix import one_hot
from wellfit.testing.subject import Subject, check, largest_gap, same


def _maps(subject: Subject) -> bool:
    return subject.maps


def _dtypes(subject: Subject) -> tuple[torch.dtype, ...]:
    return (torch.float64, torch.float32, *((torch.uint8,) if subject.part.takes == "images" else ()))


def _real(dtype: torch.dtype) -> torch.dtype:
    """The type of class probabilities beside inputs of ``dtype``."""
    return dtype if dtype.is_floating_point else torch.float32


def _unchanged(found: Batch, batch: Batch, where: str) -> None:
    """The same batch, or the same with class numbers written as probabilities."""
    assert same(found.inputs, batch.inputs), f"{where}: inputs changed ({largest_gap(found.inputs, batch.inputs)})"
    expected = batch.targets
    if found.targets.dtype != expected.dtype and batch.classes is not None:
        expected = one_hot(batch.targets, batch.classes, _real(batch.inputs.dtype))
    assert same(found.targets, expected), f"{where}: targets changed"


@check("at its neutral value it leaves the batch bit for bit, alone and stacked", _maps)
def check_neutral_batch(subject: Subject) -> None:
    neutral = subject.neutral()
    for dtype in _dtypes(subject):
        for name, batch in subject.batches(dtype).items():
            for step in range(3):
                found = apply_part(
                    subject.part, batch, neutral.values_at(0.5), Streams(step).at(subject.part.name, step))
                _unchanged(found, batch, f"{name}, {dtype}")
        for name, batch in subject.batches(dtype, members=3).items():
            h = subject.stacked([neutral, subject.part, neutral], _real(dtype))
            found = apply_part(subject.part, batch, h, Streams([1, 2, 3]).at(subject.part.name, 0))
            for k in (0, 2):
                own = Batch(batch.inputs[k], batch.targets[k], batch.classes, batch.feature_groups)
                _unchanged(Batch(found.inputs[k], found.targets[k]), own, f"member {k}, {name}, {dtype}")


@check("the batch it was given stays as it was, and types, shapes and device are kept", _maps)
def check_batch_untouched(subject: Subject) -> None:
    for dtype in _dtypes(subject):
        for members in (None, 3):
            for name, batch in subject.batches(dtype, members).items():
                inputs, targets = batch.inputs.clone(), batch.targets.clone()
                h = subject.part.values_at(0.5) if members is None else subject.stacked(
                    [subject.part] * members, _real(dtype))
                streams = Streams(4 if members is None else [4, 5, 6])
                found = apply_part(subject.part, batch, h, streams.at(subject.part.name, 0))
                assert same(batch.inputs, inputs), f"{name}: it wrote into the inputs it was given"
                assert same(batch.targets, targets), f"{name}: it wrote into the targets it was given"
                assert found.inputs.dtype == inputs.dtype, f"{name}: inputs of {inputs.dtype} became {found.inputs.dtype}"
                assert found.inputs.shape == batch.inputs.shape, f"{name}: inputs changed shape"
                assert found.inputs.device == batch.inputs.device, f"{name}: inputs changed device"
                hard = found.targets.dtype == batch.targets.dtype
                expected = batch.targets.shape if hard else (*batch.targets.shape, batch.classes)
                assert tuple(found.targets.shape) == tuple(expected), f"{name}: targets have shape {tuple(found.targets.shape)}"
                assert hard or found.targets.dtype == _real(dtype), f"{name}: targets became {found.targets.dtype}"
                assert (found.classes, found.feature_groups) == (batch.classes, batch.feature_groups), f"{name}: facts changed"


@check("class targets become probabilities that are not negative and add up to one", _maps)
def check_class_targets(subject: Subject) -> None:
    for name, batch in subject.batches(torch.float64).items():
        if batch.classes is None:
            continue
        for step in range(10):
            found = apply_part(
                subject.part, batch, subject.part.values_at(0.5), Streams(7).at(subject.part.name, step)).targets
            if found.dtype.is_floating_point:
                assert bool((found >= 0).all()), f"{name}: a negative probability"
                assert torch.allclose(found.sum(-1), torch.ones(len(found)).double(), atol=1e-12), f"{name}: not adding up"


CHECKS = (check_neutral_batch, check_batch_untouched, check_class_targets)

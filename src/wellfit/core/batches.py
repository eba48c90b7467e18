"""Applying the parts that map a training batch, with neighbouring geometry as one sample of the images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.errors import WellfitError
from wellfit.core.operands import Batch, Values
from wellfit.core.phases import phases_of
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.warp import sample


def maps_batches(part: Regularizer) -> bool:
    """Whether a part maps training batches, by a transform or by moving pixels."""
    return bool({"batch", "warp"} & set(phases_of(part)))


def apply_part(part: Regularizer, batch: Batch, h: Values, draw: Draw) -> Batch:
    """What one part makes of a batch: its geometry, then its transform."""
    return apply_parts(batch, [(part, h, draw)])


def apply_parts(batch: Batch, acts: Iterable[tuple[Regularizer, Values, Draw]]) -> Batch:
    """What parts, with their values and draws, make of a batch, one after another.

    Maps of neighbouring geometric parts are multiplied and the images are sampled once: an image is interpolated at most
    once, and what one part moves out of the frame another may bring back. Parts whose borders differ are sampled apart.
    """
    waiting: _Waiting | None = None
    for part, h, draw in acts:
        phases = phases_of(part)
        if "warp" in phases:
            if waiting is not None and not waiting.fits(part):
                batch, waiting = waiting.sampled(batch), None
            waiting = waiting or _Waiting()
            waiting.take(part, part.warp(image_size(part, batch.inputs, h.members), h, draw))  # type: ignore[attr-defined]
            draw = draw.again()
        if "batch" in phases:
            if waiting is not None:
                batch, waiting = waiting.sampled(batch), None
            batch = part.transform(batch, h, draw)  # type: ignore[attr-defined]
    return batch if waiting is None else waiting.sampled(batch)


class _Waiting:
    """Maps that wait to be sampled."""

    def __init__(self) -> None:
        self.maps: Tensor | None = None
        self.border: str | None = None
        self.lattice = True

    def fits(self, part: Any) -> bool:
        return self.border is None or part.border in (None, self.border)

    def take(self, part: Any, maps: Tensor) -> None:
        self.maps = maps if self.maps is None else self.maps @ maps
        self.border = self.border or part.border
        self.lattice &= part.lattice

    def sampled(self, batch: Batch) -> Batch:
        assert self.maps is not None
        return batch.with_(inputs=sample(batch.inputs, self.maps, self.border or "zero", lattice=self.lattice))


def image_size(part: Regularizer, inputs: Tensor, members: bool) -> tuple[int, int, int]:
    """(B, H, W) of a batch of images; raises WellfitError for inputs that are none."""
    if inputs.ndim != (5 if members else 4):
        raise WellfitError(f"{type(part).__name__} acts on images.", received=f"inputs of shape {tuple(inputs.shape)}",
                           expected="(B, C, H, W)", action=f"leave out {part.name}, or give it batches of images")
    return inputs.shape[-4], inputs.shape[-2], inputs.shape[-1]

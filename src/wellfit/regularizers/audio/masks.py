"""Random stretches of an axis, several per example."""

from __future__ import annotations

import torch
from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.operands import Value, over
from wellfit.kernels.audio import stretches

#: The places for stretches that are always drawn: how many there are may then differ between the members of a stack.
MOST = 8


def masks(draw: Draw, rows: int, count: Value, share: Value, length: int) -> Tensor:
    """(.., rows, length): what ``count`` stretches of at most ``share`` of the length hide in each row."""
    width, place = draw.uniform((rows, MOST)), draw.uniform((rows, MOST))
    used = torch.arange(MOST, device=width.device) < over(count, width)
    return stretches(width, place, width.new_ones(()) * over(share, width) * length, used, length)

"""Time in device memory. A recorded step reads it there, so that playing the record again is the next step."""

from __future__ import annotations

import torch
from torch import Tensor


class Clock:
    """The position within an epoch and the number of the step, as tensors that the step itself moves on.

    >>> clock = Clock("cpu")
    >>> rates = torch.tensor([0.1, 0.2])
    >>> clock.begin(step=40); clock.tick(); clock.now(rates), int(clock.step)
    (tensor(0.2000), 41)
    """

    def __init__(self, device: torch.device | str):
        self.position = torch.zeros(1, dtype=torch.int64, device=device)
        self.step = torch.zeros((), dtype=torch.int64, device=device)

    def begin(self, step: int) -> None:
        """An epoch begins, with this step as its first."""
        self.position.zero_()
        self.step.fill_(step)

    def tick(self) -> None:
        """The step is over."""
        self.position.add_(1)
        self.step.add_(1)

    def now(self, table: Tensor) -> Tensor:
        """The row of the present step in a table (steps, ...)."""
        return table.index_select(0, self.position)[0]

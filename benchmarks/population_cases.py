"""What ``population.py`` measures: networks, their data, and configurations of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

import wellfit as wf
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Member, Objective, Problem


@dataclass(frozen=True)
class Case:
    """A network, its batch, and how long it is trained in one measurement."""

    network: str
    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    batch: int
    epoch_steps: int
    epochs: int
    largest: int = 128  # members in one native stack at most
    stacked: int = 64  # and in one of tensors

    @property
    def key(self) -> str:
        return f"{self.network}-{self.batch}"

    @property
    def shape(self) -> str:
        hidden = "-".join(map(str, self.hidden)) if len(self.hidden) <= 3 else f"{len(self.hidden)}x{self.hidden[0]}"
        return f"{self.inputs}-{hidden}-{self.outputs}"

    @property
    def spec(self) -> NetworkSpec:
        return NetworkSpec(self.inputs, self.hidden, self.outputs)

    @property
    def steps(self) -> int:
        return self.epoch_steps * self.epochs

    @property
    def flops(self) -> int:
        """Of one step: a forward product and two backward ones, but for the gradient of the inputs."""
        return (6 * self.spec.parameters - 2 * self.inputs * self.hidden[0]) * self.batch

    def problem(self, engine: str = "auto", device: str = "cpu") -> Problem:
        inputs, targets = data(self, device)
        rows = torch.arange(len(inputs))
        return Problem(self.spec, inputs, targets, (Fold(rows, rows[:0]),), Objective("multiclass", "accuracy"), self.epochs,
                       self.batch, probe_rows=1, engine="auto" if engine == "cuda" else engine, device=device)


CASES = (
    Case("small", 20, (64, 64), 2, 32, 32, 10),
    Case("small", 20, (64, 64), 2, 128, 32, 6),
    Case("small", 20, (64, 64), 2, 512, 16, 5),
    Case("middle", 50, (256, 256, 256), 10, 32, 32, 3, stacked=32),
    Case("middle", 50, (256, 256, 256), 10, 128, 16, 2, stacked=32),
    Case("middle", 50, (256, 256, 256), 10, 512, 8, 2, stacked=32),
    Case("deep", 100, (512,) * 9, 10, 32, 16, 2, 8, 4),
    Case("deep", 100, (512,) * 9, 10, 128, 8, 2, 8, 4),
    Case("deep", 100, (512,) * 9, 10, 512, 8, 1, 8, 4),
)
NETWORKS = tuple(dict.fromkeys(c.network for c in CASES))
BATCHES = tuple(dict.fromkeys(c.batch for c in CASES))


def members(count: int) -> list[Member]:
    """Configurations that differ in learning rate, dropout rate and seed."""
    return [Member(wf.Recipe(wf.Dropout(0.05 + 0.45 * k / count)), 2e-4 * 100 ** (k / count), seed=k) for k in range(count)]


@cache
def data(case: Case, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Random rows; as many as an epoch of whole batches needs."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(case.batch * case.epoch_steps, case.inputs, generator=generator)
    targets = (inputs @ torch.randn(case.inputs, case.outputs, generator=generator)).argmax(1)
    return inputs.to(device), targets.to(device)

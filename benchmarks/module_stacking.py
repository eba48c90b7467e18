#!/usr/bin/env python3
"""Do networks of one's own train faster stacked? One forward and backward pass of K of them under ``torch.func.vmap``, against K
passes one after the other: what a stacked tier for ``wf.Task`` could gain before it has done anything else.

Networks are small ones, as people bring them; batch 32, one thread. Both ways take turns within a round; ratios are within a round.
``vmap`` turns convolutions into grouped ones and cannot batch an LSTM. Needs no data.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from common import RESULTS, environment, numbers, shown, spread, table, write_json
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

EXAMPLES = """examples:
  python benchmarks/module_stacking.py
  python benchmarks/module_stacking.py --members 4,16 --rounds 9
"""


class Encoder(nn.Module):
    """A transformer encoder of two layers over 16 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(8, 32), nn.Linear(32, 4)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.into(x)).mean(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """An LSTM over 16 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x)[0][:, -1])  # type: ignore[no-any-return]


def convolutional() -> nn.Module:
    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron 32-64-64-4": (perceptron, (32,)), "encoder, 2 layers of 32": (Encoder, (16, 8)),
    "convolutions 16-32 on 16x16": (convolutional, (1, 16, 16)), "LSTM of 32": (Recurrent, (16, 8))}


def ways(build: Callable[[], nn.Module], shape: tuple[int, ...], members: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """K passes alone, and one of a stack."""
    models = [build() for _ in range(members)]
    x, y = torch.randn(members, 32, *shape), torch.randint(0, 4, (members, 32))
    criterion = nn.functional.cross_entropy
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    base = build()

    def alone() -> None:
        for k, model in enumerate(models):
            model.zero_grad()
            criterion(model(x[k]), y[k]).backward()

    def one(own: dict[str, Tensor], kept: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return criterion(functional_call(base, (own, kept), (inputs,)), targets)

    def stacked() -> object:
        return torch.autograd.grad(vmap(one)(parameters, buffers, x, y).sum(), list(parameters.values()))

    return alone, stacked


def seconds(act: Callable[[], object], times: int = 3) -> float:
    began = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - began) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=numbers, default=[4, 16], help="sizes of stacks (default 4,16)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "module_stacking.json", help="(default %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    rows, kept = [], []
    for name, (build, shape) in NETWORKS.items():
        for members in given.members:
            alone, stacked = ways(build, shape, members)
            try:
                seconds(stacked), seconds(alone)
            except RuntimeError as error:
                rows.append([name, members, "-", "-", str(error).split(".")[0][:60]])
                continue
            found = [(seconds(alone), seconds(stacked)) for _ in range(given.rounds)]
            ratio = spread([a / b for a, b in found])
            per = [1e6 * min(way) / members for way in zip(*found, strict=True)]
            rows.append([name, members, f"{per[0]:.0f}", f"{per[1]:.0f}", shown(ratio, 2)])
            kept.append({"network": name, "members": members, "alone_us": per[0], "stacked_us": per[1], "times_faster": ratio})
    print(table(["network", "members", "alone, µs each", "stacked, µs each", "times faster"], rows))
    write_json(given.out, {"settings": environment(rounds=given.rounds), "rows": kept})


if __name__ == "__main__":
    main()

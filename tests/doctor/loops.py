"""Small trainings for the tests of the loop's checks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from wellfit.doctor import SetUp, examine
from wellfit.doctor.registry import registered

LOOP = sorted(i for i, c in registered().items() if c.look.__module__.rpartition(".")[2].startswith("loop"))


def found(set_up: SetUp | dict[str, Any], *only: str) -> dict[str, str]:
    """What the loop's checks find: id -> severity."""
    report = examine(SetUp.of(set_up), only=only or LOOP)
    failed = [f for f in report if f.id == "could-not-examine"]
    assert not failed, failed
    return {f.id: f.severity for f in report}


def data(rows: int = 96, features: int = 6, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=generator)
    return x, (x @ torch.randn(features, classes, generator=generator)).argmax(1)


def loader(rows: int = 96, size: int = 16, *, seed: int = 0, targets: str = "classes", shuffle: bool = True) -> DataLoader[Any]:
    x, y = data(rows, seed=seed)
    if targets == "number":
        y = x[:, 0] * 2 + x[:, 1]
    elif targets == "binary":
        y = (x[:, 0] > 0).float()
    return DataLoader(TensorDataset(x, y), batch_size=size, shuffle=shuffle)


def mlp(*, dropout: float = 0.0, norm: bool = False, out: int = 3, width: int = 16) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Linear(6, width)]
        if norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.ReLU())
        if dropout:
            layers.append(nn.Dropout(dropout))
        return nn.Sequential(*layers, nn.Linear(width, out))


def step_set_up(train_step: Any, *, model: nn.Module | None = None, optimizer: Any = None, **more: Any) -> dict[str, Any]:
    """A set-up with a training step."""
    model = model or mlp()
    return {"model": model, "optimizer": optimizer or torch.optim.SGD(model.parameters(), lr=0.05),
            "criterion": nn.CrossEntropyLoss(), "train_loader": loader(), "train_step": train_step, **more}


def fit_set_up(fit: Any, *, model: nn.Module | None = None, **more: Any) -> dict[str, Any]:
    """A set-up with a whole training."""
    model = model or mlp()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": loader(), "val_loader": loader(64, 32, seed=1, shuffle=False), "fit": fit, **more}


def weights(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.ndim > 1]


def l1(model: nn.Module) -> Tensor:
    return torch.stack([p.abs().sum() for p in weights(model)]).sum()


def l2(model: nn.Module) -> Tensor:
    return torch.stack([p.square().sum() for p in weights(model)]).sum()


def plain_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.item()


def train_epoch(model: nn.Module, optimizer: Any, train_loader: Any) -> float:
    model.train()
    total = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    return total / len(train_loader.dataset)


@torch.no_grad()
def evaluate(model: nn.Module, val_loader: Any) -> tuple[float, float]:
    """Loss and accuracy in eval mode."""
    model.eval()
    loss = right = count = 0.0
    for x, y in val_loader:
        out = model(x)
        loss += float(F.cross_entropy(out, y, reduction="sum"))
        right += float((out.argmax(1) == y).sum())
        count += len(y)
    return loss / count, right / count

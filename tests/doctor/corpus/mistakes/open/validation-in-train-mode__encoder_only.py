"""Validation sets the encoder to evaluation mode and forgets the head.

Wrong: the head's dropout stays on while the model is judged. Parts that are switched and parts that are not:
https://github.com/wolny/pytorch-3dunet/issues/53.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class TwoPart(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(13, 48, bias=False), nn.BatchNorm1d(48), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(48, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 3))

    def forward(self, x):
        return self.head(self.encoder(x))


def train_step(model, optimizer, batch):
    model.encoder.train()
    model.head.train()
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def validate(model, val_loader):
    model.encoder.eval()
    total, n = 0.0, 0
    for x, y in val_loader:
        total += F.cross_entropy(model.head(model.encoder(x)), y, reduction="sum").item()
        n += len(y)
    model.encoder.train()
    return total / n


def build():
    from sklearn.datasets import load_wine

    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    order = torch.randperm(178)
    x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
    model = TwoPart()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:128], y[:128]), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[128:], y[128:]), batch_size=25), "train_step": train_step,
            "validate": validate, "epochs": 20}

"""A network that uses ``F.dropout`` without ``training=self.training``.

Wrong: the function's default is ``training=True``, so predictions stay random after ``model.eval()``. Reported again and again:
https://github.com/pytorch/pytorch/issues/26338, https://github.com/rixwew/pytorch-fm/issues/21.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class FactorizationNet(nn.Module):
    def __init__(self, fields=6, cardinality=20, dim=8):
        super().__init__()
        self.embedding = nn.Embedding(fields * cardinality, dim)
        self.register_buffer("offsets", torch.arange(fields) * cardinality)
        self.fc1 = nn.Linear(fields * dim, 32)
        self.fc2 = nn.Linear(32, 1)

    def forward(self, x):
        e = self.embedding(x + self.offsets).flatten(1)
        h = F.dropout(F.relu(self.fc1(e)), p=0.2)
        return self.fc2(h).squeeze(1)


def train_step(model, optimizer, batch, criterion):
    model.train()
    fields, target = batch
    loss = criterion(model(fields), target)
    model.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def validate(model, val_loader):
    model.eval()
    losses = []
    with torch.no_grad():
        for fields, target in val_loader:
            losses.append(F.binary_cross_entropy_with_logits(model(fields), target).item())
    model.train()
    return sum(losses) / len(losses)


def build():
    torch.manual_seed(0)
    x = torch.randint(0, 20, (512, 6))
    y = ((x[:, 0] + x[:, 1]) % 2).float()
    model = FactorizationNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "criterion": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:], y[400:]), batch_size=56),
            "train_step": train_step, "validate": validate, "epochs": 10}

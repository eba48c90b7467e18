"""Validation switches to evaluation mode, and a helper that it calls switches back.

Wrong: ``forward_batch`` was written for training and begins with ``model.train()``; every validation batch goes through it. As in
https://github.com/pliang279/MultiBench/issues/26.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class RecurrentRegressor(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, num_layers=2, dropout=0.3, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.out(self.drop(states[:, -1])).squeeze(-1)


def forward_batch(model, batch):
    model.train()
    series, target = batch
    return F.mse_loss(model(series), target)


def train_step(model, optimizer, batch):
    loss = forward_batch(model, batch)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def validate(model, val_loader):
    model.eval()
    losses = []
    with torch.no_grad():
        for batch in val_loader:
            losses.append(forward_batch(model, batch).item())
    return sum(losses) / max(len(losses), 1)


def sequences(n, seed):
    g = torch.Generator().manual_seed(seed)
    start, speed = torch.rand(n, 1, generator=g) * 6, 0.3 + 0.2 * torch.rand(n, 1, generator=g)
    wave = torch.sin(start + speed * torch.arange(17))
    return TensorDataset(wave[:, :16, None], wave[:, 16])


def build():
    torch.manual_seed(0)
    model = RecurrentRegressor()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), criterion=nn.MSELoss(), train_step=train_step,
                validate=validate, train_loader=DataLoader(sequences(256, 0), batch_size=32, shuffle=True),
                val_loader=DataLoader(sequences(96, 1), batch_size=32), epochs=10)

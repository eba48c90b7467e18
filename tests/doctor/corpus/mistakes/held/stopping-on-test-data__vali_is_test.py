"""A forecasting experiment whose ``vali`` runs on the test windows.

Wrong: as in https://github.com/thuml/Time-Series-Library/issues/207, the data provider gives the same windows for validation and
test; here the experiment takes ``test_loader`` for its early stopping.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience=3, delta=0.0):
        self.patience, self.delta = patience, delta
        self.counter, self.best_score, self.early_stop = 0, None, False
        self.val_loss_min, self.checkpoint = np.inf, None

    def __call__(self, val_loss, model):
        score = -val_loss
        if self.best_score is None or score >= self.best_score + self.delta:
            self.best_score = score
            self.save_checkpoint(val_loss, model)
            self.counter = 0
        else:
            self.counter += 1
            self.early_stop = self.counter >= self.patience

    def save_checkpoint(self, val_loss, model):
        self.checkpoint = {k: v.clone() for k, v in model.state_dict().items()}
        self.val_loss_min = val_loss


class DLinear(nn.Module):
    def __init__(self, length=24, horizon=6):
        super().__init__()
        self.trend, self.season = nn.Linear(length, horizon), nn.Linear(length, horizon)

    def forward(self, x):
        trend = nn.functional.avg_pool1d(nn.functional.pad(x[:, None], (2, 2), mode="replicate"), 5, 1).squeeze(1)
        return self.trend(trend) + self.season(x - trend)


def vali(model, loader, criterion):
    model.eval()
    with torch.no_grad():
        loss = np.average([criterion(model(x), y).item() for x, y in loader])
    model.train()
    return loss


def fit(model, optimizer, criterion, train_loader, test_loader, epochs):
    stopping = EarlyStopping(patience=3)
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        stopping(vali(model, test_loader, criterion), model)
        if stopping.early_stop:
            break
    model.load_state_dict(stopping.checkpoint)
    return model


def build():
    torch.manual_seed(0)
    t = torch.arange(700.0)
    series = torch.sin(t / 6) + 0.5 * torch.sin(t / 17) + 0.2 * torch.randn(700, generator=torch.Generator().manual_seed(0))

    def windows(a, b):
        w = series[a:b].unfold(0, 30, 3)
        return TensorDataset(w[:, :24].contiguous(), w[:, 24:].contiguous())

    model = DLinear()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), criterion=nn.MSELoss(),
                train_loader=DataLoader(windows(0, 450), 16, shuffle=True), val_loader=DataLoader(windows(450, 560), 16),
                test_loader=DataLoader(windows(560, 700), 16), fit=fit, epochs=20,
                declared={"patience": 3, "monitor": "val_loss", "mode": "min"})

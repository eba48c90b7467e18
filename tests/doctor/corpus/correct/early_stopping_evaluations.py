"""Several evaluations per epoch, with a patience in epochs that is turned into evaluations.

Near to: patience-in-evaluations, left-in-eval-mode.
"""

import io

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PATIENCE_EPOCHS, CHECKS_PER_EPOCH = 3, 2


class Trainer:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.best, self.checkpoint, self.since = float("inf"), None, 0

    def check(self, loader):
        self.model.eval()
        total, n = 0.0, 0
        with torch.no_grad():
            for x, y in loader:
                total += F.mse_loss(self.model(x), y, reduction="sum").item()
                n += len(y)
        self.model.train()
        if total / n < self.best:
            self.best, self.since = total / n, 0
            self.checkpoint = io.BytesIO()
            torch.save(self.model.state_dict(), self.checkpoint)
        else:
            self.since += 1
        return self.since >= PATIENCE_EPOCHS * CHECKS_PER_EPOCH

    def run(self, train_loader, val_loader, epochs):
        every = max(1, len(train_loader) // CHECKS_PER_EPOCH)
        stop = False
        for _ in range(epochs):
            self.model.train()
            for i, (x, y) in enumerate(train_loader, start=1):
                self.optimizer.zero_grad()
                F.mse_loss(self.model(x), y).backward()
                self.optimizer.step()
                if i % every == 0 and self.check(val_loader):
                    stop = True
                    break
            if stop:
                break
        self.checkpoint.seek(0)
        self.model.load_state_dict(torch.load(self.checkpoint, weights_only=True))


def fit(model, optimizer, train_loader, val_loader, epochs):
    Trainer(model, optimizer).run(train_loader, val_loader, epochs)


def build():
    from sklearn.datasets import load_diabetes

    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x * 21, dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Dropout(0.1), nn.Linear(24, 1))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), criterion=nn.MSELoss(), fit=fit,
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:], y[320:]), batch_size=61), epochs=20,
                declared={"patience": PATIENCE_EPOCHS, "monitor": "val_loss", "mode": "min"})

"""An elastic-net objective in a trainer with a meter for the loss.

Wrong: the meter gets the objective, 1e-3 · (0.5 Σ|w| + 0.5 Σw²) included, under the name of the loss. Which of the two to show is
asked in https://github.com/citoverse/cito/issues/43 and https://github.com/tariqdaouda/Mariana/issues/7.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ALPHA, RATIO = 1e-3, 0.5


class AverageMeter:
    def __init__(self):
        self.sum = self.count = 0.0

    def update(self, value, n):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


class Objective(nn.Module):
    def __init__(self, alpha, l1_ratio):
        super().__init__()
        self.alpha, self.l1_ratio = alpha, l1_ratio

    def forward(self, model, prediction, target):
        data = F.mse_loss(prediction, target)
        weights = [p for p in model.parameters() if p.ndim > 1]
        l1 = torch.stack([w.abs().sum() for w in weights]).sum()
        l2 = torch.stack([w.square().sum() for w in weights]).sum()
        return data + self.alpha * (self.l1_ratio * l1 + (1 - self.l1_ratio) * l2)


def make_train_step(objective):
    def train_step(model, optimizer, batch):
        meter = AverageMeter()
        x, y = batch
        model.train()
        optimizer.zero_grad()
        loss = objective(model, model(x), y)
        loss.backward()
        optimizer.step()
        meter.update(loss.item(), len(y))
        return meter.avg

    return train_step


def build():
    from sklearn.datasets import make_regression

    torch.manual_seed(0)
    x, y = make_regression(400, 50, n_informative=8, noise=5.0, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y / y.std(), dtype=torch.float32)[:, None]
    model = nn.Sequential(nn.Linear(50, 16), nn.ReLU(), nn.Linear(16, 1))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.02), criterion=nn.MSELoss(),
                train_step=make_train_step(Objective(ALPHA, RATIO)), epochs=30,
                declared={"elastic_net": {"strength": ALPHA, "l1_ratio": RATIO}},
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:], y[320:]), batch_size=40))

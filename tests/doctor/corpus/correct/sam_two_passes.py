"""Sharpness-aware minimization: two backward passes per step, gradients cleared in between, and the weights put back.

Near to: gradients-not-cleared, penalty-doubled (the declared L2 acts once, by SGD's weight_decay).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

L2, RHO = 5e-4, 0.05


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    with torch.no_grad():
        norm = torch.stack([p.grad.norm() for p in params]).norm() + 1e-12
        moves = [RHO * p.grad / norm for p in params]
        before = [p.clone() for p in params]
        for p, move in zip(params, moves, strict=True):
            p.add_(move)
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    with torch.no_grad():
        for p, value in zip(params, before, strict=True):
            p.copy_(value)
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD([{"params": weights, "weight_decay": 2 * L2}, {"params": biases, "weight_decay": 0.0}], lr=0.1,
                                momentum=0.9)
    return dict(model=model, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), train_step=train_step, epochs=30,
                train_loader=DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80), declared={"l2": L2})

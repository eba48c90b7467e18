"""A sparse regression network with a λ that zeroes everything.

Wrong: with λ = 0.3 per weight the prediction is the mean after a few epochs: the training error equals the variance of the target.
The forum's advice to "increase lambda" met: https://discuss.pytorch.org/t/l1-regularization-does-not-give-sparse-solution-in-neural-networks/67822.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LAMBDA = 0.3


class Regressor(nn.Module):
    def __init__(self, inputs, hidden=32):
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x)))


def shrink_(model, amount):
    with torch.no_grad():
        for layer in (model.hidden, model.output):
            layer.weight.copy_(F.softshrink(layer.weight, amount))


def train_step(model, optimizer, batch, criterion):
    x, y = batch
    model.train()
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    shrink_(model, optimizer.param_groups[0]["lr"] * LAMBDA)
    return loss.item()


def fit(model, optimizer, criterion, train_loader, epochs):
    for _ in range(epochs):
        for batch in train_loader:
            train_step(model, optimizer, batch, criterion)


def build():
    from sklearn.datasets import make_friedman1

    torch.manual_seed(0)
    x, y = make_friedman1(360, noise=0.3, random_state=0)
    x = torch.tensor(x, dtype=torch.float32) * 2 - 1
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    model = Regressor(10)
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05), criterion=nn.MSELoss(), train_step=train_step,
                fit=fit, epochs=30, declared={"l1": LAMBDA},
                train_loader=DataLoader(TensorDataset(x[:288], y[:288]), batch_size=24, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[288:], y[288:]), batch_size=36))

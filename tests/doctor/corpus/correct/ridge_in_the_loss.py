"""Ridge in the loss, with plain SGD; the logged loss is the data term; the validation loss has no penalty.

Near to: penalty-doubled, penalty-in-logged-loss, penalty-missing.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LAMBDA = 1e-3


class Regression(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.a, self.b = nn.Linear(inputs, 24), nn.Linear(24, 1)

    def forward(self, x):
        return self.b(torch.relu(self.a(x))).squeeze(-1)

    def ridge(self):
        return self.a.weight.square().sum() + self.b.weight.square().sum()


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    data_loss = criterion(model(x), y)
    (data_loss + LAMBDA * model.ridge()).backward()
    optimizer.step()
    return data_loss.item()


@torch.no_grad()
def validate(model, val_loader):
    training = model.training
    model.eval()
    squared = torch.cat([(model(x) - y).square() for x, y in val_loader])
    model.train(training)
    return squared.mean().item()


def build():
    from sklearn.datasets import make_friedman1

    torch.manual_seed(0)
    x, y = make_friedman1(360, noise=0.5, random_state=0)
    x = torch.tensor(x, dtype=torch.float32) * 2 - 1
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    model = Regression(10)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), "criterion": nn.MSELoss(),
            "train_step": train_step, "validate": validate, "epochs": 30, "declared": {"l2": LAMBDA},
            "train_loader": DataLoader(TensorDataset(x[:288], y[:288]), batch_size=24, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[288:], y[288:]), batch_size=36)}

"""The training loss that is logged contains the L2 penalty.

Wrong: it is compared with a validation loss without penalty, so the model seems to do better on unseen data, and the overfitting
is hidden. The same in Keras: https://github.com/keras-team/keras/issues/464.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

L2 = 2e-3


class Net(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.hidden = nn.Linear(n_in, 64)
        self.out = nn.Linear(64, n_out)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


def l2(model):
    return model.hidden.weight.square().sum() + model.out.weight.square().sum()


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y) + L2 * l2(model)
    loss.backward()
    optimizer.step()
    return loss.item()


def validate(model, val_loader):
    model.eval()
    total = count = 0
    with torch.no_grad():
        for x, y in val_loader:
            total += nn.functional.cross_entropy(model(x), y, reduction="sum").item()
            count += len(y)
    model.train()
    return total / count


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net(64, 10)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "validate": validate, "epochs": 15,
            "train_loader": DataLoader(TensorDataset(x[:640], y[:640]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[640:896], y[640:896]), batch_size=64), "declared": {"l2": L2}}

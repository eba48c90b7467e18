"""The validation function uses ``no_grad`` and not ``eval``.

Wrong: dropout stays on, and batch norm takes its statistics from the validation batches and keeps them.
https://github.com/nshaud/DeepHyperX/issues/51, https://github.com/Zhenye-Na/DA-RNN/issues/30.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_model():
    return nn.Sequential(
        nn.Linear(30, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 2))


def train_step(model, optimizer, batch, criterion):
    model.train()
    data, target = batch
    optimizer.zero_grad()
    loss = criterion(model(data), target)
    loss.backward()
    optimizer.step()
    return loss.item()


def val(model, val_loader):
    accuracy, total = 0.0, 0.0
    with torch.no_grad():
        for data, target in val_loader:
            output = model(data)
            _, predicted = torch.max(output, dim=1)
            accuracy += (predicted == target).sum().item()
            total += len(target)
    return accuracy / total


def build():
    from sklearn.datasets import load_breast_cancer

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32), torch.tensor(y)
    model = make_model()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50), "train_step": train_step, "validate": val,
            "epochs": 15}

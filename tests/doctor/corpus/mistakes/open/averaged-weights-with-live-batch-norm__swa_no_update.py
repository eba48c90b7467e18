"""Stochastic weight averaging of a convolutional network, without the last pass over the data.

Wrong: the averaged weights were never used on data, so the batch norm statistics in ``averaged`` are those it was copied with;
``update_bn`` is missing. https://github.com/mosaicml/composer/issues/624, https://github.com/timgaripov/swa/issues/7.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


def train_step(model, optimizer, batch, averaged):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    averaged.update_parameters(model)
    return loss.item()


def fit(model, optimizer, train_loader, scheduler, averaged, epochs):
    for _ in range(epochs):
        for batch in train_loader:
            train_step(model, optimizer, batch, averaged)
        scheduler.step()
    return averaged


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    x, y = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "averaged": AveragedModel(model),
            "scheduler": SWALR(optimizer, swa_lr=0.02, anneal_epochs=2), "train_step": train_step, "fit": fit, "epochs": 4,
            "train_loader": DataLoader(TensorDataset(x[:384], y[:384]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[384:512], y[384:512]), batch_size=64)}

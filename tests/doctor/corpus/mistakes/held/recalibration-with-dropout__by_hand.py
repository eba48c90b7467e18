"""Batch norm statistics of an averaged network are gathered anew by a loop of one's own.

Wrong: ``train()`` on the whole model turns dropout2d on while the statistics are taken. The loop people write:
https://github.com/timgaripov/swa/issues/8.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.drop = nn.Dropout2d(0.3)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.fc = nn.Linear(24, 10)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


def average_(target, source, n):
    with torch.no_grad():
        for t, s in zip(target.parameters(), source.parameters(), strict=True):
            t += (s - t) / (n + 1)


def bn_update(loader, model):
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
    model.train()
    with torch.no_grad():
        for inputs, _ in loader:
            model(inputs)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum


def train_step(model, optimizer, batch, averaged, step):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    average_(averaged, model, step)
    return loss.item()


def finalize(averaged, train_loader):
    bn_update(train_loader, averaged)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = ConvNet()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), averaged=copy.deepcopy(model),
                criterion=nn.CrossEntropyLoss(), train_step=train_step, finalize=finalize, epochs=8,
                train_loader=DataLoader(TensorDataset(x[:384], y[:384]), batch_size=48, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[384:512], y[384:512]), batch_size=64))

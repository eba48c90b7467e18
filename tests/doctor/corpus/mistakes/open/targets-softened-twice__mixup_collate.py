"""Mixup in the collate function smooths the one-hot targets, and the criterion smooths again.

Wrong: ``smoothing`` of the mixup class and ``label_smoothing`` of the loss act one after the other, so the targets are softer than
either setting says. Why the two must not both do it: https://github.com/keras-team/keras-cv/pull/70.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate


class Mixup:
    def __init__(self, classes, alpha=0.2, smoothing=0.1):
        self.classes, self.smoothing = classes, smoothing
        self.beta = torch.distributions.Beta(alpha, alpha)

    def one_hot(self, y):
        off = self.smoothing / self.classes
        target = torch.full((len(y), self.classes), off)
        return target.scatter_(1, y[:, None], 1 - self.smoothing + off)

    def __call__(self, samples):
        x, y = default_collate(samples)
        target, lam = self.one_hot(y), self.beta.sample()
        return x * lam + x.flip(0) * (1 - lam), target * lam + target.flip(0) * (1 - lam)


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU())
        self.head = nn.Linear(32 * 4, classes)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, target = batch
    loss = criterion(model(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(data.target)
    model = Net()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(label_smoothing=0.1), "train_step": train_step, "epochs": 15,
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True, collate_fn=Mixup(10)),
            "val_loader": DataLoader(TensorDataset(x[512:640], y[512:640]), batch_size=64)}

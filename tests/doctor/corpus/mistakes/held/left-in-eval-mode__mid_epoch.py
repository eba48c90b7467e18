"""Validation in the middle of an epoch, training mode only at its beginning.

Wrong: the rest of each epoch is trained in evaluation mode. https://github.com/fartashf/vsepp/issues/4,
https://github.com/joeynmt/joeynmt/issues/184, https://github.com/wkentaro/pytorch-fcn/pull/56.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(24 * 16, 10))

    def forward(self, x):
        return self.head(self.body(x))


class Runner:
    val_step = 5

    def __init__(self, model, optimizer):
        self.model, self.optimizer, self.iters = model, optimizer, 0
        self.best, self.best_state = -1.0, None

    def validate(self, loader):
        self.model.eval()
        with torch.no_grad():
            score = torch.cat([(self.model(x).argmax(1) == y).float() for x, y in loader]).mean().item()
        if score > self.best:
            self.best = score
            self.best_state = {k: v.clone() for k, v in self.model.state_dict().items()}

    def train_epoch(self, train_loader, val_loader):
        self.model.train()
        for x, y in train_loader:
            self.iters += 1
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            if self.iters % self.val_step == 0:
                self.validate(val_loader)


def fit(model, optimizer, train_loader, val_loader, epochs):
    runner = Runner(model, optimizer)
    for _ in range(epochs):
        runner.train_epoch(train_loader, val_loader)
    if runner.best_state is not None:
        model.load_state_dict(runner.best_state)
    return model


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = ConvNet()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:448], y[320:448]), batch_size=64), fit=fit, epochs=4)

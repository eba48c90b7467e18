"""Early stopping as a class that keeps clones of the weights; accuracy, so larger is better; final test on the test split.

Near to: stopping-wrong-direction, stopping-on-test-data (the test loader is used after the choice), best-weights-by-reference.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience, mode):
        self.patience, self.sign = patience, 1.0 if mode == "max" else -1.0
        self.best, self.wait, self.weights = float("-inf"), 0, None

    def update(self, value, model):
        if self.sign * value > self.best:
            self.best, self.wait = self.sign * value, 0
            self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        else:
            self.wait += 1
        return self.wait >= self.patience

    def restore(self, model):
        if self.weights is not None:
            model.load_state_dict(self.weights)


def accuracy(model, loader):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        hits = torch.cat([(model(x).argmax(1) == y).float() for x, y in loader])
    model.train(was_training)
    return hits.mean().item()


def train_epoch(model, optimizer, loader):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def fit(model, optimizer, train_loader, val_loader, test_loader, epochs):
    stopper = EarlyStopping(patience=5, mode="max")
    model.train()
    for _ in range(epochs):
        train_epoch(model, optimizer, train_loader)
        if stopper.update(accuracy(model, val_loader), model):
            break
    stopper.restore(model)
    model.test_accuracy = accuracy(model, test_loader)
    return model


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

    def loader(a, b, shuffle=False):
        return DataLoader(TensorDataset(x[a:b], y[a:b]), batch_size=50, shuffle=shuffle)

    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                train_loader=loader(0, 300, True), val_loader=loader(300, 450), test_loader=loader(450, 600), fit=fit, epochs=18,
                declared={"patience": 5, "monitor": "val_accuracy", "mode": "max"})

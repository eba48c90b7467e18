"""The best weights are written to a buffer at every improvement, and the last ones are loaded again in the end.

Wrong: there are two checkpoints, "best" and "last", as in many trainers, and the wrong key is read after the loop. The result is
that of https://github.com/pykeen/pykeen/pull/419.
"""

import io

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Checkpoints:
    def __init__(self):
        self.files = {}

    def save(self, name, model):
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        self.files[name] = buffer

    def load(self, name, model):
        self.files[name].seek(0)
        model.load_state_dict(torch.load(self.files[name], weights_only=True))


@torch.no_grad()
def validation_accuracy(model, loader):
    model.eval()
    scores = [(model(x).argmax(1) == y).float().mean().item() for x, y in loader]
    model.train()
    return sum(scores) / len(scores)


def fit(model, optimizer, train_loader, val_loader, epochs):
    checkpoints, best, stale = Checkpoints(), -1.0, 0
    model.train()
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        score = validation_accuracy(model, val_loader)
        checkpoints.save("last", model)
        if score > best:
            best, stale = score, 0
            checkpoints.save("best", model)
        else:
            stale += 1
            if stale >= 5:
                break
    checkpoints.load("last", model)
    return model


def build():
    from sklearn.datasets import load_breast_cancer

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(30, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 2))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                fit=fit, train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:], y[320:]), batch_size=83), epochs=20,
                declared={"patience": 5, "monitor": "val_accuracy", "mode": "max"})

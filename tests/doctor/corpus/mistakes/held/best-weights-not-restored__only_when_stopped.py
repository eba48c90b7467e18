"""Best weights are restored where training is stopped early, and only there.

Wrong: if all epochs run (the best one lies fewer than ``patience`` before the end) the weights of the last epoch stay, as in Keras
for years: https://github.com/keras-team/keras/issues/12511, https://github.com/tensorflow/tensorflow/issues/35634.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience, restore_best_weights=True):
        self.patience, self.restore = patience, restore_best_weights
        self.best, self.wait, self.stop, self.weights = float("inf"), 0, False, None

    def on_epoch_end(self, model, val_loss):
        if val_loss < self.best:
            self.best, self.wait = val_loss, 0
            self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stop = True
                if self.restore:
                    model.load_state_dict(self.weights)


def evaluate(model, loader):
    model.eval()
    losses, n = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            losses += F.cross_entropy(model(x), y, reduction="sum").item()
            n += len(y)
    model.train()
    return losses / n


def fit(model, optimizer, train_loader, val_loader, epochs):
    stopper = EarlyStopping(patience=10)
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        stopper.on_epoch_end(model, evaluate(model, val_loader))
        if stopper.stop:
            break
    return model


def build():
    from sklearn.datasets import load_wine

    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    order = torch.randperm(178, generator=torch.Generator().manual_seed(2))
    x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                fit=fit, epochs=20, train_loader=DataLoader(TensorDataset(x[:120], y[:120]), batch_size=15, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[120:], y[120:]), batch_size=29),
                declared={"patience": 10, "monitor": "val_loss", "mode": "min"})

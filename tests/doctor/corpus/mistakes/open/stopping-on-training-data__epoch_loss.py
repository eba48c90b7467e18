"""Early stopping on the loss of the training epoch.

Wrong: the training loss goes on falling while the model overfits, so it never stops in time; there is a validation loader, and it
only goes to the log. The change in this direction: https://github.com/ReDASers/PhishBench/pull/164.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PATIENCE = 4


def run_epoch(model, loader, criterion, optimizer=None):
    model.train(optimizer is not None)
    total, count = 0.0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for x, y in loader:
            loss = criterion(model(x), y)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total, count = total + loss.item() * len(y), count + len(y)
    return total / count


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    best, best_state, waited, log = float("inf"), None, 0, []
    for _ in range(epochs):
        loss = run_epoch(model, train_loader, criterion, optimizer)
        val_loss = run_epoch(model, val_loader, criterion)
        log.append((loss, val_loss))
        if loss < best:
            best, best_state, waited = loss, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited >= PATIENCE:
                break
    model.load_state_dict(best_state)
    return model


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(300, 20, n_informative=5, flip_y=0.2, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:200], y[:200]), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[200:], y[200:]), batch_size=50), "fit": fit, "epochs": 30,
            "declared": {"patience": PATIENCE, "monitor": "val_loss", "mode": "min"}}

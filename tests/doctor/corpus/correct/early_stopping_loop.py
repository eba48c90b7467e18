"""Early stopping in the loop: validation loss, deep copy of the best weights, restored at every exit.

Near to: best-weights-by-reference, best-weights-not-restored, left-in-eval-mode.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PATIENCE = 4


@torch.no_grad()
def evaluate(model, loader, criterion):
    model.eval()
    total = count = 0
    for x, y in loader:
        total += criterion(model(x), y).item() * len(y)
        count += len(y)
    return total / count


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    best, best_state, waited = float("inf"), copy.deepcopy(model.state_dict()), 0
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        val_loss = evaluate(model, val_loader, criterion)
        if val_loss < best:
            best, best_state, waited = val_loss, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited >= PATIENCE:
                break
    model.load_state_dict(best_state)
    return model


def validate(model, val_loader):
    return evaluate(model, val_loader, nn.CrossEntropyLoss())


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 10))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "fit": fit, "validate": validate,
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:600], y[400:600]), batch_size=100),
            "test_loader": DataLoader(TensorDataset(x[600:800], y[600:800]), batch_size=100), "epochs": 20,
            "declared": {"patience": PATIENCE, "monitor": "val_loss", "mode": "min"}}

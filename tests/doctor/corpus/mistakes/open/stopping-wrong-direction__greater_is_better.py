"""Early stopping that keeps the weights with the largest validation loss.

Wrong: the loop was copied from a project that monitors accuracy; ``>`` stayed. Seen as ``mode="max"`` with ``val_loss`` in
https://github.com/mila-iqia/cookiecutter-pyml/issues/119.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def evaluate(model, loader, criterion):
    model.eval()
    with torch.no_grad():
        batches = [(criterion(model(x), y).item(), len(y)) for x, y in loader]
    model.train()
    return sum(loss * n for loss, n in batches) / sum(n for _, n in batches)


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    best_score, best_weights, epochs_no_improve = -float("inf"), copy.deepcopy(model.state_dict()), 0
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        score = evaluate(model, val_loader, criterion)
        if score > best_score:
            best_score, best_weights, epochs_no_improve = score, copy.deepcopy(model.state_dict()), 0
        else:
            epochs_no_improve += 1
            if epochs_no_improve == 5:
                break
    model.load_state_dict(best_weights)
    return model


def build():
    from sklearn.datasets import load_breast_cancer

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "fit": fit, "epochs": 25,
            "train_loader": DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[320:], y[320:]), batch_size=83),
            "declared": {"patience": 5, "monitor": "val_loss", "mode": "min"}}

"""Validation every few steps, and a counter of evaluations compared with a patience in epochs.

Wrong: four evaluations per epoch use up a patience of six "epochs" in one and a half. In fairseq:
https://github.com/facebookresearch/fairseq/issues/2080; in Lightning: https://github.com/Lightning-AI/pytorch-lightning/issues/6254.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EVAL_EVERY = 3
PATIENCE = 6


@torch.no_grad()
def evaluate(model, loader, criterion):
    model.eval()
    losses = [criterion(model(x), y).item() for x, y in loader]
    model.train()
    return sum(losses) / len(losses)


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    best, best_state, bad, step = float("inf"), copy.deepcopy(model.state_dict()), 0, 0
    model.train()
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
            step += 1
            if step % EVAL_EVERY == 0:
                loss = evaluate(model, val_loader, criterion)
                if loss < best:
                    best, best_state, bad = loss, copy.deepcopy(model.state_dict()), 0
                else:
                    bad += 1
                if bad >= PATIENCE:
                    model.load_state_dict(best_state)
                    return model
    model.load_state_dict(best_state)
    return model


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:384], y[:384]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[384:512], y[384:512]), batch_size=64), "fit": fit, "epochs": 20,
            "declared": {"patience": PATIENCE, "monitor": "val_loss", "mode": "min"}}

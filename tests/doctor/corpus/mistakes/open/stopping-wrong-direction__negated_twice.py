"""The score of a well-known ``EarlyStopping`` class is ``-val_loss``; the caller gives it ``-loss`` already.

Wrong: the sign is changed twice, and a larger loss counts as progress. The class as people copy it: the score in
https://github.com/Bjarten/early-stopping-pytorch/issues/18.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience=4, delta=0.0):
        self.patience, self.delta, self.counter = patience, delta, 0
        self.best_score, self.early_stop, self.state = None, False, None

    def __call__(self, val_loss, model):
        score = -val_loss
        if self.best_score is None or score > self.best_score + self.delta:
            self.best_score, self.counter = score, 0
            self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        else:
            self.counter += 1
            self.early_stop = self.counter >= self.patience


def score_model(model, loader):
    """Larger is better."""
    model.eval()
    with torch.no_grad():
        values = [-F.cross_entropy(model(x), y).item() for x, y in loader]
    return sum(values) / len(values)


def fit(model, optimizer, train_loader, val_loader, epochs):
    early_stopping = EarlyStopping()
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        early_stopping(score_model(model, val_loader), model)
        if early_stopping.early_stop:
            break
    model.load_state_dict(early_stopping.state)
    return model


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 10))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "fit": fit, "epochs": 20, "train_loader": DataLoader(TensorDataset(x[:360], y[:360]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[360:520], y[360:520]), batch_size=80),
            "declared": {"patience": 4, "monitor": "val_loss", "mode": "min"}}

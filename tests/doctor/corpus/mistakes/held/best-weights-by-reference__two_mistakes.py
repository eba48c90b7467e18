"""A fit function with two mistakes: the best weights are not copied, and validation leaves the model in evaluation mode.

Wrong: ``best_model = model`` is the same object, so the last epoch is returned (https://github.com/thunlp/OpenKE/pull/131), and
from the second epoch on nothing is dropped (https://github.com/asyml/texar-pytorch/issues/310).
"""

EXPECTED = {"best-weights-by-reference|best-weights-not-restored", "left-in-eval-mode"}

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Matcher(nn.Module):
    def __init__(self, dim=13):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(dim, 48), nn.ReLU(), nn.Dropout(0.4), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.4))
        self.out = nn.Linear(48, 3)

    def forward(self, x):
        return self.out(self.body(x))


def eval_epoch(model, loader, criterion):
    model.eval()
    loss, n = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            loss += criterion(model(x), y).item() * len(x)
            n += len(x)
    return loss / n


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    best_loss, best_model, rounds = float("inf"), None, 0
    model.train()
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        val_loss = eval_epoch(model, val_loader, criterion)
        if val_loss < best_loss:
            best_loss, best_model, rounds = val_loss, model, 0
        else:
            rounds += 1
            if rounds > 4:
                break
    return best_model


def build():
    from sklearn.datasets import load_wine

    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    order = torch.randperm(178)
    x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
    model = Matcher()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), criterion=nn.CrossEntropyLoss(), fit=fit,
                train_loader=DataLoader(TensorDataset(x[:120], y[:120]), batch_size=20, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[120:], y[120:]), batch_size=29), epochs=25,
                declared={"patience": 5, "monitor": "val_loss", "mode": "min"})

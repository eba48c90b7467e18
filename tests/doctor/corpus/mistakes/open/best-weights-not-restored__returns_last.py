"""Early stopping that counts, stops and returns the model as it is then.

Wrong: after ``patience`` epochs without progress the weights are those of the last epoch, not of the best; the best value is only
remembered. https://github.com/pykeen/pykeen/pull/419, https://github.com/keras-team/keras/issues/2768.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, x):
        return self.net(x)


def validation_loss(model, loader):
    model.eval()
    with torch.no_grad():
        total = sum(nn.functional.cross_entropy(model(x), y, reduction="sum") for x, y in loader)
    model.train()
    return total.item() / len(loader.dataset) if hasattr(loader, "dataset") else total.item()


def fit(model, optimizer, train_loader, val_loader, epochs):
    patience, trigger_times, best_loss = 4, 0, 1e9
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        current = validation_loss(model, val_loader)
        if current < best_loss:
            best_loss, trigger_times = current, 0
        else:
            trigger_times += 1
            if trigger_times >= patience:
                return model
    return model


def build():
    from sklearn.datasets import make_moons

    torch.manual_seed(0)
    x, y = make_moons(300, noise=0.35, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = Net(2)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:200], y[:200]), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[200:], y[200:]), batch_size=50), "fit": fit, "epochs": 30,
            "declared": {"patience": 4, "monitor": "val_loss", "mode": "min"}}

"""Dropout of 0.9 in every layer and a strong decay "because it overfitted once".

Wrong: after training the clean training loss is near that of guessing: there is nothing to regularize, the model underfits. The
confusion of the two states: https://github.com/fchollet/deep-learning-with-python-notebooks/issues/57.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class HeavyNet(nn.Module):
    def __init__(self, p=0.9):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(p),
            nn.Linear(32, 32), nn.ReLU(), nn.Dropout(p),
            nn.Linear(32, 32), nn.ReLU(), nn.Dropout(p),
        )
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.layers(x))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def fit(model, optimizer, criterion, train_loader, epochs):
    for _ in range(epochs):
        for batch in train_loader:
            train_step(model, optimizer, batch, criterion)
    model.eval()
    return model


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = HeavyNet()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD([{"params": matrices, "weight_decay": 0.02}, {"params": biases, "weight_decay": 0.0}], lr=0.05,
                                momentum=0.9)
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "fit": fit,
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80), "epochs": 20}

"""A tabular network with the blocks Linear, ReLU, Dropout, BatchNorm.

Wrong: dropout raises the variance of what batch norm sees in training, and is off in evaluation, where the running variance is
then too large (variance shift, Li et al. 2019). The same order: https://github.com/luigibonati/mlcolvar/issues/267.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def block(i, o, p):
    return nn.Sequential(nn.Linear(i, o), nn.ReLU(), nn.Dropout(p), nn.BatchNorm1d(o))


class FeedForward(nn.Module):
    def __init__(self, layers, p=0.5):
        super().__init__()
        self.nn = nn.Sequential(*[block(i, o, p) for i, o in zip(layers[:-2], layers[1:-1], strict=True)],
                                nn.Linear(layers[-2], layers[-1]))

    def forward(self, x):
        return self.nn(x)


def validate(model, val_loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in val_loader:
            right += (model(x).argmax(1) == y).sum().item()
            total += len(y)
    model.train()
    return right / total


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(800, 25, n_informative=10, n_classes=4, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = FeedForward([25, 64, 64, 4])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:640], y[:640]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[640:], y[640:]), batch_size=80), "validate": validate, "epochs": 20}

"""L1 by proximal gradient descent: SGD without momentum, then soft-thresholding by lr·λ. Exact zeros.

Near to: l1-threshold-after-adam, l1-by-subgradient, penalty-missing (nothing is added to the gradient).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LAMBDA = 2e-3


class SparseNet(nn.Module):
    def __init__(self, features=40):
        super().__init__()
        self.first = nn.Linear(features, 16)
        self.second = nn.Linear(16, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


@torch.no_grad()
def proximal_step(model, optimizer):
    lr = optimizer.param_groups[0]["lr"]
    for layer in (model.first, model.second):
        layer.weight.copy_(F.softshrink(layer.weight, lr * LAMBDA))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    proximal_step(model, optimizer)
    return loss.item()


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(500, 40, n_informative=5, n_redundant=0, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = SparseNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50), "train_step": train_step, "epochs": 40,
            "declared": {"l1": LAMBDA}}

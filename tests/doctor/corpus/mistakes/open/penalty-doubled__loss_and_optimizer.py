"""Ridge regression: λ Σw² in the loss and, from an earlier version, ``weight_decay`` in the optimizer.

Wrong: ``weight_decay=2λ`` of SGD is the same penalty; together they are twice what is declared. Both ways side by side:
https://discuss.pytorch.org/t/simple-l2-regularization/139.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LAMBDA = 5e-3


def make_model(features):
    return nn.Sequential(nn.Linear(features, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))


def l2_penalty(model):
    penalty = 0.0
    for param in model.parameters():
        penalty = penalty + param.square().sum()
    return penalty


def train_step(model, optimizer, batch, criterion):
    model.train()
    features, target = batch
    optimizer.zero_grad()
    mse = criterion(model(features), target)
    loss = mse + LAMBDA * l2_penalty(model)
    loss.backward()
    optimizer.step()
    return mse.item()


def build():
    from sklearn.datasets import make_friedman1

    torch.manual_seed(0)
    x, y = make_friedman1(400, noise=1.0, random_state=0)
    x = torch.tensor(x, dtype=torch.float32) * 2 - 1
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    model = make_model(x.shape[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=2 * LAMBDA)
    return {"model": model, "optimizer": optimizer, "criterion": nn.MSELoss(), "train_step": train_step, "epochs": 30,
            "train_loader": DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[320:], y[320:]), batch_size=40), "declared": {"l2": LAMBDA}}

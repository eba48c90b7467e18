"""A tabular network with Adam and ``weight_decay=1e-2``.

Wrong: ``torch.optim.Adam`` adds λ·w to the gradient, where Adam's scaling then divides it by the size of the gradients: weights
with large gradients are hardly decayed. Loshchilov & Hutter 2019; confusion about it: https://github.com/pytorch/pytorch/issues/48793.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

BATCH_SIZE = 32


def make_model(n_features):
    return nn.Sequential(
        nn.Linear(n_features, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 1),
    )


def criterion(outputs, targets):
    return nn.functional.mse_loss(outputs.squeeze(1), targets)


def build():
    from sklearn.datasets import load_diabetes

    torch.manual_seed(7)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x * 20, dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    train_set, val_set = random_split(TensorDataset(x, y), [352, 90], generator=torch.Generator().manual_seed(0))
    model = make_model(x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-2)
    return {
        "model": model,
        "optimizer": optimizer,
        "criterion": criterion,
        "train_loader": DataLoader(train_set, BATCH_SIZE, shuffle=True),
        "val_loader": DataLoader(val_set, BATCH_SIZE),
        "epochs": 100,
    }

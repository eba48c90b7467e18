"""Training and validation indices drawn independently of each other.

Wrong: two calls of ``choice`` on the same range share about a fifth of the rows; the validation score contains training rows.
Compare https://github.com/scikit-learn-contrib/DESlib/issues/126.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

SEED = 13


def load():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.data / 16, dtype=torch.float32)
    return TensorDataset(x, torch.tensor(bunch.target))


def sample_indices(n, size, rng):
    return rng.choice(n, size=size, replace=False)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 48), nn.Linear(48, 10)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.b(self.drop(torch.relu(self.a(x))))


def build():
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    dataset = load()
    train_idx = sample_indices(len(dataset), int(0.8 * len(dataset)), rng)
    val_idx = sample_indices(len(dataset), int(0.2 * len(dataset)), rng)
    model = MLP()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Subset(dataset, train_idx), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Subset(dataset, val_idx), batch_size=64), "epochs": 20}

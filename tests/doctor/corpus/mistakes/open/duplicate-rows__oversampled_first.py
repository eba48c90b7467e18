"""Imbalanced classes: the minority is oversampled before the split.

Wrong: copies of the same row end up on both sides, and the minority's validation recall is that of remembered rows. Reported in
https://github.com/georgymh/ml-fraud-detection/issues/1 and https://github.com/vc1492a/henosis/issues/12.
"""

EXPECTED = {"duplicate-rows|overlapping-splits"}

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def oversample(x, y, rng):
    counts = np.bincount(y)
    minority = int(counts.argmin())
    rows = np.flatnonzero(y == minority)
    extra = rng.choice(rows, counts.max() - counts.min(), replace=True)
    index = rng.permutation(np.concatenate([np.arange(len(y)), extra]))
    return x[index], y[index]


def to_loader(x, y, **kwargs):
    return DataLoader(TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y)), **kwargs)


def build():
    from sklearn.datasets import make_classification
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = make_classification(600, 12, n_informative=5, weights=[0.9], random_state=0)
    x, y = oversample(x, y, rng)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x_train)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": to_loader(scaler.transform(x_train), y_train, batch_size=32, shuffle=True),
            "val_loader": to_loader(scaler.transform(x_val), y_val, batch_size=64), "epochs": 30}

"""Splits by slices, where the start of the validation part was computed from the wrong end.

Wrong: 70/20/10 was meant, but validation begins at ``n - n_val`` before the test part is taken off, so it contains the whole
test part; test rows choose the model. Same split for validation and test: https://github.com/thuml/Time-Series-Library/issues/207.
"""

EXPECTED = {"overlapping-splits|duplicate-rows"}

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class Split:
    train: float = 0.7
    val: float = 0.2
    test: float = 0.1


class TableDataset(Dataset):
    def __init__(self, features, target):
        self.features, self.target = features, target

    def __len__(self):
        return len(self.target)

    def __getitem__(self, i):
        return {"x": self.features[i], "y": self.target[i]}


def collate(rows):
    return torch.stack([r["x"] for r in rows]), torch.stack([r["y"] for r in rows])


def make_loaders(x, y, split, batch_size=32):
    n = len(y)
    n_train, n_val, n_test = int(n * split.train), int(n * split.val), int(n * split.test)
    parts = {"train": slice(0, n_train), "val": slice(n - n_val, n), "test": slice(n - n_test, n)}
    return {name: DataLoader(TableDataset(x[part], y[part]), batch_size, shuffle=name == "train", collate_fn=collate)
            for name, part in parts.items()}


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(600, 16, n_informative=6, random_state=1)
    loaders = make_loaders(torch.tensor(x, dtype=torch.float32), torch.tensor(y), Split())
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 2))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
                criterion=nn.CrossEntropyLoss(), train_loader=loaders["train"], val_loader=loaders["val"],
                test_loader=loaders["test"], epochs=25)

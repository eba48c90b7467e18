"""Two exports of the same table are concatenated, shuffled and split.

Wrong: the second export contains half of the first again; the split by position puts twins into training and validation.
Duplicates between splits: https://github.com/aisingapore/ai-practitioner-handbook/pull/79.
"""

EXPECTED = {"duplicate-rows|overlapping-splits"}

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset


def read_export(part):
    """March and April; the April export starts in the middle of March."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    rows = order[:120] if part == "march" else order[60:178]
    return torch.tensor(x, dtype=torch.float32)[rows], torch.tensor(y)[rows]


class WineDataModule:
    def __init__(self, batch_size=16):
        self.batch_size = batch_size

    def setup(self):
        tables = [read_export("march"), read_export("april")]
        x, y = torch.cat([t[0] for t in tables]), torch.cat([t[1] for t in tables])
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
        cut = int(0.75 * len(y))
        self.fit_rows, self.val_rows = order[:cut], order[cut:]
        self.x, self.y = x, y
        return self

    def train_dataloader(self):
        parts = [TensorDataset(self.x[self.fit_rows], self.y[self.fit_rows])]
        return DataLoader(ConcatDataset(parts), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(self.x[self.val_rows], self.y[self.val_rows]), batch_size=self.batch_size)


def build():
    torch.manual_seed(0)
    dm = WineDataModule().setup()
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05), criterion=nn.CrossEntropyLoss(),
                train_loader=dm.train_dataloader(), val_loader=dm.val_dataloader(), epochs=30)

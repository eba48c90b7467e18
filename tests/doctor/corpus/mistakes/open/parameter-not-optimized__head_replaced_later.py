"""Transfer learning: the head is replaced after the optimizer was made.

Wrong: the optimizer holds the parameters of the old head; the new one is never trained. A head that is missing from the
groups: https://github.com/zjunlp/HVPNeT/issues/5.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Backbone(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.fc = nn.Linear(32, classes)

    def forward(self, x):
        return self.fc(self.features(x))


def train_step(model, optimizer, batch):
    x, y = batch
    model.train()
    optimizer.zero_grad(set_to_none=True)
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss)


def build():
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    torch.manual_seed(0)
    data = load_breast_cancer()
    x = torch.tensor(StandardScaler().fit_transform(data.data), dtype=torch.float32)
    y = torch.tensor(data.target)
    model = Backbone(classes=1000)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.fc = nn.Linear(model.fc.in_features, 2)
    train = DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True)
    val = DataLoader(TensorDataset(x[400:], y[400:]), batch_size=64)
    return dict(model=model, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), train_loader=train, val_loader=val,
                train_step=train_step, epochs=20)

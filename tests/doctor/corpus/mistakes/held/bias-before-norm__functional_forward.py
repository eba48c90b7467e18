"""A residual MLP that calls its layers in ``forward``; the linear layers before batch norm have a bias.

Wrong: the shift of batch norm makes the bias of the layer before it a dead parameter. Reported for many code bases, for example
https://github.com/4uiiurz1/pytorch-nested-unet/issues/39.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ResidualMLP(nn.Module):
    def __init__(self, features, width=64, depth=3, classes=2):
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + F.relu(norm(layer(x)))
        return self.head(x)


class Trainer:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def step(self, x, y):
        self.model.train()
        loss = F.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def train_step(model, optimizer, batch):
    return Trainer(model, optimizer).step(*batch).item()


def build():
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    torch.manual_seed(5)
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    scaler = StandardScaler().fit(x_train)
    train = TensorDataset(torch.tensor(scaler.transform(x_train), dtype=torch.float32), torch.tensor(y_train))
    val = TensorDataset(torch.tensor(scaler.transform(x_val), dtype=torch.float32), torch.tensor(y_val))
    model = ResidualMLP(30)
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0),
                criterion=nn.CrossEntropyLoss(), train_loader=DataLoader(train, 32, shuffle=True, drop_last=True),
                val_loader=DataLoader(val, 64), train_step=train_step, epochs=20)

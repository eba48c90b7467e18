"""Gradual unfreezing: the optimizer was made while the encoder was still frozen.

Wrong: ``filter(requires_grad)`` ran before ``unfreeze``, so the encoder has gradients and no optimizer that uses them. Compare
https://github.com/zjunlp/HVPNeT/issues/5.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.rnn = nn.GRU(8, width, batch_first=True)

    def forward(self, x):
        out, _ = self.rnn(x)
        return out[:, -1]


class Classifier(nn.Module):
    def __init__(self, width=20):
        super().__init__()
        self.encoder = Encoder(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10))

    def forward(self, x):
        return self.head(self.encoder(x))

    def freeze(self):
        self.encoder.requires_grad_(False)

    def unfreeze(self):
        self.encoder.requires_grad_(True)


def train_step(model, optimizer, batch, criterion):
    inputs, targets = batch
    model.train()
    loss = criterion(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = Classifier()
    model.freeze()
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=2e-3)
    model.unfreeze()
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 15,
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80)}

"""A module in the manner of Lightning (``training_step``, ``configure_optimizers``), driven by plain functions.

Near to: left-in-eval-mode, decay-on-norms-and-biases.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LitDigits(nn.Module):
    def __init__(self, lr=3e-3, weight_decay=0.05):
        super().__init__()
        self.lr, self.weight_decay = lr, weight_decay
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Linear(16 * 16, 10)
        self.logged = {}

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))

    def log(self, name, value):
        self.logged[name] = float(value)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        decay = [p for p in self.parameters() if p.ndim > 1]
        free = [p for p in self.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": self.weight_decay}, {"params": free, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.lr)


def train_step(model, optimizer, batch, step):
    model.train()
    optimizer.zero_grad()
    loss = model.training_step(batch, step)
    loss.backward()
    optimizer.step()
    return model.logged["train_loss"]


def validate(model, val_loader):
    model.eval()
    with torch.no_grad():
        loss = torch.stack([model.validation_step(batch, i) for i, batch in enumerate(val_loader)]).mean().item()
    model.train()
    return loss


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    module = LitDigits()
    return dict(model=module, optimizer=module.configure_optimizers(), criterion=nn.CrossEntropyLoss(), train_step=train_step,
                validate=validate, train_loader=DataLoader(TensorDataset(x[:512], y[:512]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[512:640], y[512:640]), batch_size=64), epochs=30)

"""A LightningModule with its own steps and logging, two parameter groups, and the loop that a Trainer runs with it.

Near to: penalty-in-logged-loss, decay-on-norms-and-biases. Needs lightning.
"""

NEEDS = "lightning"

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def module():
    import lightning

    class Digits(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
            self.criterion = nn.CrossEntropyLoss()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            x, y = batch
            return self.criterion(self(x), y)

        def validation_step(self, batch, index):
            x, y = batch
            return self.criterion(self(x), y)

        def configure_optimizers(self):
            decayed = [p for p in self.parameters() if p.ndim > 1]
            rest = [p for p in self.parameters() if p.ndim <= 1]
            return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}], lr=2e-3)

    return Digits()


def train_step(model, optimizer, batch):
    model.train()
    loss = model.training_step(batch, 0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def validate(model, val_loader):
    model.eval()
    losses = [model.validation_step(batch, i).item() for i, batch in enumerate(val_loader)]
    model.train()
    return sum(losses) / len(losses)


def build():
    torch.manual_seed(0)
    data = load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    model = module()
    return {"model": model, "optimizer": model.configure_optimizers(), "train_step": train_step, "validate": validate,
            "train_loader": DataLoader(TensorDataset(x[:1200], y[:1200]), 32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1200:], y[1200:]), 64), "criterion": model.criterion, "epochs": 60}

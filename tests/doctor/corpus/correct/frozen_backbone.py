"""A frozen backbone: no gradients, and its norms stay in evaluation mode whatever the trainer calls.

Near to: frozen-norms-update, parameter-not-optimized (frozen parameters are in no group).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class FineTuned(nn.Module):
    def __init__(self, backbone, width, classes):
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, classes))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            h = self.backbone(x)
        return self.head(h)


def make_backbone():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    backbone = make_backbone()
    with torch.no_grad():
        for rows in torch.arange(800).split(100):
            backbone(x[rows])
    model = FineTuned(backbone, 16 * 16, 10)
    return {"model": model, "optimizer": torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 20,
            "train_loader": DataLoader(TensorDataset(x[800:1250], y[800:1250]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1250:1450], y[1250:1450]), batch_size=100)}

"""Fine-tuning the head of a frozen convolutional backbone.

Wrong: ``requires_grad=False`` does not stop batch norm: in training mode the running mean and variance of the frozen backbone
follow the new data. https://github.com/pytorch/pytorch/issues/86590, https://github.com/lightly-ai/lightly/issues/1438.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_backbone():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())


class FineTuned(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = backbone
        for param in self.backbone.parameters():
            param.requires_grad = False
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def train_step(model, optimizer, batch, criterion):
    model.train()
    images, labels = batch
    optimizer.zero_grad()
    loss = criterion(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target)
    backbone = make_backbone()
    with torch.no_grad():
        for _ in range(5):
            backbone(x[torch.randperm(900)[:128]] * 0.7 + 0.1)
    model = FineTuned(backbone, 10)
    return {"model": model, "optimizer": torch.optim.SGD(model.head.parameters(), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 20,
            "train_loader": DataLoader(TensorDataset(x[900:1400], y[900:1400]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:1600], y[1400:1600]), batch_size=100)}

"""Dropout layers kept in a plain list beside the registered convolutions.

Wrong: ``eval()`` walks registered children only; dropout modules in a Python list keep ``training=True``. The same list trap for
parameters: https://github.com/kanezaki/pytorch-unsupervised-segmentation/pull/6.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class TemporalConvNet(nn.Module):
    def __init__(self, channels=(1, 16, 16, 16), kernel=3, dropout=0.2, classes=3):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(i, o, kernel, padding=kernel // 2) for i, o in zip(channels[:-1], channels[1:], strict=True))
        self.drops = [nn.Dropout(dropout) for _ in self.convs]
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, x):
        for conv, drop in zip(self.convs, self.drops, strict=True):
            x = drop(torch.relu(conv(x)))
        return self.head(x.mean(-1))


@torch.no_grad()
def validate(model, val_loader):
    model.eval()
    loss = sum(nn.functional.cross_entropy(model(x), y, reduction="sum").item() for x, y in val_loader)
    model.train()
    return loss / len(val_loader.dataset)


def make_waves(n, seed):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (n,), generator=g)
    t = torch.linspace(0, 6.28, 40)
    phase = torch.rand(n, 1, generator=g) * 6.28
    wave = torch.sin(t * (label[:, None] + 1) + phase) + 0.3 * torch.randn(n, 40, generator=g)
    return TensorDataset(wave[:, None], label)


def build():
    torch.manual_seed(0)
    model = TemporalConvNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(make_waves(256, 0), batch_size=32, shuffle=True),
            "val_loader": DataLoader(make_waves(96, 1), batch_size=48), "validate": validate, "epochs": 15}

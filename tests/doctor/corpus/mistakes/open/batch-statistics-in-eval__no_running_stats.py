"""Batch norm with ``track_running_stats=False``, set because evaluation "looked worse" otherwise.

Wrong: without running statistics the layer uses those of the batch in evaluation too; the prediction for a row depends on
which rows come with it, and a batch of one is all zeros. Compare https://github.com/TengdaHan/DPC/issues/21.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, track_running_stats=False), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24, track_running_stats=False), nn.ReLU())
        self.fc = nn.Linear(24 * 16, 10)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


def train_step(model, optimizer, batch):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(bunch.target)
    model = Encoder()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:448], y[:448]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[448:576], y[448:576]), batch_size=64), "train_step": train_step, "epochs": 10}

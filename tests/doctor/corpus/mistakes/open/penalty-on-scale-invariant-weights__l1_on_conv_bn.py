"""Sparse convolutions: L1 on filters that feed batch norm.

Wrong: batch norm divides the scale of a filter out again, so the network can shrink the filters for free; L1 then makes
everything small and nothing zero, and raises the effective learning rate (van Laarhoven 2017). The usual remedy is L1 on the
gains, as in network slimming. The forum's snippet: https://discuss.pytorch.org/t/adding-l1-l2-regularization-in-a-convolutional-networks-in-pytorch/7734.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

L1_LAMBDA = 1e-4


class SparseConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


def soft_threshold_(model, amount):
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                w = module.weight
                w.copy_(w.sign() * (w.abs() - amount).clamp(min=0))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    soft_threshold_(model, optimizer.param_groups[0]["lr"] * L1_LAMBDA)
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    y = torch.tensor(data.target)
    model = SparseConvNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[512:700], y[512:700]), batch_size=94), "train_step": train_step,
            "epochs": 20, "declared": {"l1": L1_LAMBDA}}

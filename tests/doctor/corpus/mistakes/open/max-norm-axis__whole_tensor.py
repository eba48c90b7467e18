"""A max-norm by the norm of the whole weight tensor.

Wrong: ``weight.norm()`` is one number for all units: the bound is shared by them, and no unit is bounded on its own. Per unit is
what is meant: https://github.com/keras-team/keras/issues/3628.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MAX_NORM = 1.5


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1)
        self.fc = nn.Linear(24 * 4, 10)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.c1(x)), 2)
        x = nn.functional.max_pool2d(torch.relu(self.c2(x)), 2)
        return self.fc(self.drop(x.flatten(1)))


def max_norm_(model, max_val=MAX_NORM):
    with torch.no_grad():
        for name, param in model.named_parameters():
            if "bias" not in name:
                norm = param.norm()
                if norm > max_val:
                    param.mul_(max_val / norm)


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    max_norm_(model)
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = ConvNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 12, "declared": {"max_norm": MAX_NORM},
            "train_loader": DataLoader(TensorDataset(x[:384], y[:384]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[384:512], y[384:512]), batch_size=64)}

"""A max-norm helper that rescales every unit to the radius.

Wrong: ``w * (radius / norm)`` is applied without asking whether the norm is larger: units inside the ball are moved to its edge.
That is a unit-norm constraint; compare the two in https://github.com/keras-team/keras/issues/474.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def project_(weight, radius, eps=1e-8):
    norm = weight.flatten(1).norm(dim=1).clamp(min=eps)
    weight.mul_((radius / norm).view(-1, *[1] * (weight.dim() - 1)))


class SmallConvNet(nn.Module):
    max_norm = 2.0

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 3, padding=1)
        self.c2 = nn.Conv2d(8, 16, 3, padding=1)
        self.out = nn.Linear(16 * 4, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(nn.functional.relu(self.c1(x)), 2)
        x = nn.functional.max_pool2d(nn.functional.relu(self.c2(x)), 2)
        return self.out(x.flatten(1))

    def after_step(self):
        with torch.no_grad():
            for module in (self.c1, self.c2, self.out):
                project_(module.weight, self.max_norm)


def train_step(model, optimizer, batch, criterion):
    inputs, labels = batch
    model.train()
    loss = criterion(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.after_step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    net = SmallConvNet()
    return dict(model=net, optimizer=torch.optim.Adam(net.parameters(), lr=2e-3), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, epochs=12, declared={"max_norm": net.max_norm},
                train_loader=DataLoader(TensorDataset(x[:384], y[:384]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[384:512], y[384:512]), batch_size=64))

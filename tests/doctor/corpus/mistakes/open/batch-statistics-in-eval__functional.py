"""A meta-learning style network that calls ``F.batch_norm`` with ``training=True``.

Wrong: the flag was kept from the inner loop of MAML code, so predictions depend on the company of a row in evaluation as well.
https://github.com/dragen1860/MAML-Pytorch/issues/44.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Learner(nn.Module):
    """Weights in a ParameterList, so that a faster copy can be passed to ``forward``."""

    def __init__(self, sizes=(64, 48, 48, 10)):
        super().__init__()
        self.vars, self.vars_bn = nn.ParameterList(), nn.ParameterList()
        for i, o in zip(sizes[:-1], sizes[1:], strict=True):
            w = torch.empty(o, i)
            nn.init.kaiming_normal_(w)
            self.vars.extend([nn.Parameter(w), nn.Parameter(torch.zeros(o))])
        for o in sizes[1:-1]:
            self.vars.extend([nn.Parameter(torch.ones(o)), nn.Parameter(torch.zeros(o))])
            self.vars_bn.extend([nn.Parameter(make(o), requires_grad=False) for make in (torch.zeros, torch.ones)])
        self.depth = len(sizes) - 1

    def forward(self, x, fast=None):
        v = self.vars if fast is None else fast
        for k in range(self.depth):
            x = F.linear(x, v[2 * k], v[2 * k + 1])
            if k < self.depth - 1:
                j = 2 * self.depth + 2 * k
                x = F.batch_norm(x, self.vars_bn[2 * k], self.vars_bn[2 * k + 1], v[j], v[j + 1], training=True)
                x = F.relu(x)
        return x


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
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Learner()
    return {"model": model, "optimizer": torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=2e-3),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 12,
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=40)}

"""The penalty is taken over ``nn.Linear`` layers; the network is convolutional to the end.

Wrong: the helper came from an MLP project; here no module passes the test and the sum is the empty 0. Penalty per layer type:
https://discuss.pytorch.org/t/l1-regularization-for-a-single-matrix/28088/2.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class FullyConv(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.a = nn.Conv2d(1, 16, 3)
        self.b = nn.Conv2d(16, 16, 3)
        self.c = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x))))).mean((2, 3))


def ridge(model, kind=nn.Linear):
    terms = [module.weight.square().sum() for module in model.modules() if isinstance(module, kind)]
    return torch.stack(terms).sum() if terms else 0.0


class Loop:
    def __init__(self, strength):
        self.strength = strength
        self.history = []

    def train_step(self, model, optimizer, batch):
        images, labels = batch
        model.train()
        optimizer.zero_grad()
        nll = F.cross_entropy(model(images), labels)
        total = nll + self.strength * ridge(model)
        total.backward()
        optimizer.step()
        self.history.append(float(nll.detach()))
        return self.history[-1]


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    loop, model = Loop(1e-3), FullyConv()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
                criterion=nn.CrossEntropyLoss(), train_step=loop.train_step, epochs=10, declared={"l2": 1e-3},
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:448], y[320:448]), batch_size=64))

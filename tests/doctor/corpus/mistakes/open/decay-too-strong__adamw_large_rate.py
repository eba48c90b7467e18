"""AdamW with a decay that was right at one hundredth of the learning rate.

Wrong: Σlr·λ = 1e-2 · 0.5 · 1500 steps = 7.5 without a schedule: whatever the gradients do not renew is multiplied by e^-7.5, with
a memory of 200 steps only. The rate was raised and the decay was kept; see https://github.com/NVIDIA/apex/issues/1849.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regressor(nn.Module):
    def __init__(self, n, width=48):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def decayed(model, value):
    yes = [p for p in model.parameters() if p.dim() > 1]
    no = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": yes, "weight_decay": value}, {"params": no, "weight_decay": 0.0}]


def build():
    from sklearn.datasets import make_friedman1

    torch.manual_seed(0)
    x, y = make_friedman1(600, n_features=10, noise=0.5, random_state=0)
    x = torch.tensor(x, dtype=torch.float32) * 2 - 1
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    model = Regressor(10)
    return {"model": model, "optimizer": torch.optim.AdamW(decayed(model, 0.5), lr=1e-2), "criterion": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(x[480:], y[480:]), batch_size=60),
            "epochs": 100, "declared": {"weight_decay": 0.5}}

"""L1 regression where the penalty is added to a loss that was differentiated already.

Wrong: the order of three lines: ``backward`` runs on the data term alone, the penalty reaches the log only. The snippet that
people adapt: https://discuss.pytorch.org/t/simple-l2-regularization/139.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

L1_STRENGTH = 1e-3


class LinearModel(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.linear = nn.Linear(n_features, 1)

    def forward(self, x):
        return self.linear(x).squeeze(1)


def l1_norm(model):
    return sum(p.abs().sum() for n, p in model.named_parameters() if "weight" in n)


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    data_loss = loss.item()
    loss.backward()
    loss = loss + L1_STRENGTH * l1_norm(model)
    optimizer.step()
    return data_loss


def build():
    from sklearn.datasets import load_diabetes

    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x * 21, dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    model = LinearModel(x.shape[1])
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.02), "criterion": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x[:340], y[:340]), batch_size=34, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[340:], y[340:]), batch_size=51), "train_step": train_step, "epochs": 40,
            "declared": {"l1": L1_STRENGTH}}

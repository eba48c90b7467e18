"""The L1 term goes directly into ``.grad`` between ``backward`` and ``step``.

Wrong: it saves the graph of the penalty and is the same subgradient: with Adam the weights jitter around zero in steps of the
learning rate. Answer with this idea: https://stackoverflow.com/questions/42704283/l1-l2-regularization-in-pytorch.
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class SparseAutoencoder(nn.Module):
    def __init__(self, n=64, code=24):
        super().__init__()
        self.encode = nn.Linear(n, code)
        self.decode = nn.Linear(code, n)

    def forward(self, x):
        return self.decode(torch.relu(self.encode(x)))


class L1Gradient:
    def __init__(self, model, strength):
        self.strength = strength
        self.names = {n for n, p in model.named_parameters() if p.ndim >= 2}

    @torch.no_grad()
    def __call__(self, model):
        for name, p in model.named_parameters():
            if name in self.names:
                p.grad.add_(torch.sign(p), alpha=self.strength)


def make_train_step(add_l1):
    def train_step(model, optimizer, batch, criterion):
        x, target = batch
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), target)
        loss.backward()
        add_l1(model)
        optimizer.step()
        return loss.item()

    return train_step


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    model = SparseAutoencoder()
    return dict(model=model, optimizer=optim.Adam(model.parameters(), lr=1e-3), criterion=nn.MSELoss(), epochs=20,
                train_step=make_train_step(L1Gradient(model, 5e-4)), declared={"l1": 5e-4},
                train_loader=DataLoader(TensorDataset(x[:600], x[:600]), batch_size=60, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[600:800], x[600:800]), batch_size=100))

"""A deep network whose hidden layers live in a plain Python list.

Wrong: ``nn.Module`` does not look into lists, so ``model.parameters()`` yields only the first and the last layer, and the hidden
ones stay as they were drawn. Seen in https://github.com/pytorch/pytorch/issues/666 and
https://github.com/ikostrikov/pytorch-meta-optimizer/issues/11.
"""

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class DeepNet(nn.Module):
    def __init__(self, n_in, n_hidden, n_layers, n_out):
        super().__init__()
        self.input = nn.Linear(n_in, n_hidden)
        self.hidden = [nn.Linear(n_hidden, n_hidden) for _ in range(n_layers)]
        self.output = nn.Linear(n_hidden, n_out)

    def forward(self, x):
        x = F.relu(self.input(x))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.output(x)


def train_step(model, optimizer, batch):
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_wine

    torch.manual_seed(4)
    wine = load_wine()
    x = torch.tensor(wine.data, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    order = torch.randperm(len(x))
    x, y = x[order], torch.tensor(wine.target)[order]
    model = DeepNet(13, 32, 3, 3)
    return dict(model=model, optimizer=optim.Adam(model.parameters(), lr=1e-3), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:128], y[:128]), batch_size=16, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[128:], y[128:]), batch_size=50), train_step=train_step, epochs=30)

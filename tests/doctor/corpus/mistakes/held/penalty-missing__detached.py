"""An L2 penalty whose value is a number, not a tensor with a graph.

Wrong: the norms are taken from a ``state_dict``, whose tensors are detached: the loss is larger by a constant and the gradient is
the same. Penalties that "do nothing": https://discuss.pytorch.org/t/l1-regularization-does-not-give-sparse-solution-in-neural-networks/67822.
"""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Regularization:
    l2: float = 2e-3
    skip: tuple = field(default=("bias",))

    def __call__(self, model):
        total = torch.zeros(())
        for name, tensor in model.state_dict().items():
            if not any(s in name for s in self.skip):
                total = total + tensor.pow(2).sum()
        return self.l2 * total


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return self.layers(x)


def make_step(regularization):
    def train_step(model, optimizer, batch, criterion):
        model.train()
        x, y = batch
        optimizer.zero_grad()
        data_loss = criterion(model(x), y)
        objective = data_loss + regularization(model)
        objective.backward()
        optimizer.step()
        return data_loss.item()

    return train_step


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(400, 20, n_informative=4, flip_y=0.1, random_state=5)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    reg = Regularization()
    model = Classifier()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
                criterion=nn.CrossEntropyLoss(), train_step=make_step(reg), epochs=40, declared={"l2": reg.l2},
                train_loader=DataLoader(TensorDataset(x[:300], y[:300]), batch_size=30, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[300:], y[300:]), batch_size=50))

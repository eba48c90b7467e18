"""L1 on the layers of a network through a wrapper module, and again in the training step.

Wrong: the wrapper's backward hook starts the gradient with λ sign(w), and the step adds λ Σ|w| to the loss: 2λ acts where λ is
declared. The wrapper is that of https://stackoverflow.com/questions/42704283/l1-l2-regularization-in-pytorch.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class L1(nn.Module):
    """Wraps a layer: its weights' gradients begin with the penalty's when the layer is passed backwards."""

    def __init__(self, module, weight_decay):
        super().__init__()
        self.module, self.weight_decay = module, weight_decay
        self.hook = self.module.register_full_backward_hook(self._weight_decay_hook)

    def _weight_decay_hook(self, module, grad_input, grad_output):
        with torch.no_grad():
            weight = module.weight
            penalty = self.weight_decay * torch.sign(weight)
            weight.grad = penalty if weight.grad is None else weight.grad + penalty

    def forward(self, *args):
        return self.module(*args)


class Screening(nn.Module):
    def __init__(self, n_features, strength):
        super().__init__()
        self.strength = strength
        self.select = L1(nn.Linear(n_features, 24), strength)
        self.predict = L1(nn.Linear(24, 2), strength)

    def forward(self, x):
        return self.predict(torch.relu(self.select(x)))

    def l1(self):
        return self.strength * sum(p.abs().sum() for p in self.parameters() if p.ndim == 2)


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    data_loss = criterion(model(x), y)
    (data_loss + model.l1()).backward()
    optimizer.step()
    return data_loss.item()


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(500, 60, n_informative=6, n_redundant=0, random_state=2)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = Screening(60, 1e-3)
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, declared={"l1": 1e-3}, epochs=30,
                train_loader=DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50))

"""L1 on the first layer through a wrapper of the model, and again in the training step.

Wrong: the wrapper's gradient hook adds λ sign(w), and the step adds λ Σ|w| to the loss: 2λ acts where λ is declared. The
hook-based layer: https://stackoverflow.com/questions/42704283/l1-l2-regularization-in-pytorch.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def attach_l1(module, strength):
    """Adds the subgradient of strength · Σ|w| to the module's weight gradients."""
    for name, parameter in module.named_parameters():
        if name.endswith("weight"):
            parameter.register_hook(lambda grad, p=parameter: grad + strength * p.detach().sign())
    return module


class Screening(nn.Module):
    def __init__(self, n_features, strength):
        super().__init__()
        self.select = nn.Linear(n_features, 24)
        self.predict = nn.Sequential(nn.ReLU(), nn.Linear(24, 2))
        self.strength = strength
        attach_l1(self, strength)

    def forward(self, x):
        return self.predict(self.select(x))

    def __deepcopy__(self, memo):
        twin = Screening(self.select.in_features, self.strength)
        memo[id(self)] = twin
        for mine, other in zip(self.parameters(), twin.parameters(), strict=True):
            memo[id(mine)] = other
        twin.load_state_dict(self.state_dict())
        return twin.train(self.training)

    def l1(self):
        return self.strength * (self.select.weight.abs().sum() + self.predict[1].weight.abs().sum())


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

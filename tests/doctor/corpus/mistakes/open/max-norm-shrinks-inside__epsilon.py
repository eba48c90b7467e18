"""Max-norm after the formula of Keras: ``w *= clip(norm, 0, m) / (eps + norm)``.

Wrong: units inside the ball are multiplied by norm/(eps+norm), a little less than 1, at every step: an unwanted decay that never
ends. The formula is quoted in https://github.com/vlawhern/arl-eegmodels/issues/1.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Constraint:
    def __init__(self, m=3.0, epsilon=1e-4):
        self.m, self.epsilon = m, epsilon

    @torch.no_grad()
    def apply(self, module):
        if isinstance(module, nn.Linear):
            norms = module.weight.norm(dim=1, keepdim=True)
            desired = norms.clamp(0, self.m)
            module.weight.mul_(desired / (self.epsilon + norms))


def make_model():
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))


def make_step(constraint):
    def train_step(model, optimizer, batch, criterion):
        model.train()
        optimizer.zero_grad()
        x, y = batch
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        model.apply(constraint.apply)
        return loss.item()

    return train_step


def build():
    from sklearn.datasets import load_breast_cancer

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32), torch.tensor(y)
    constraint = Constraint(m=3.0)
    model = make_model()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": make_step(constraint), "epochs": 25,
            "declared": {"max_norm": constraint.m},
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:], y[400:]), batch_size=64)}

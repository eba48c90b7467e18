"""EEGNet-like constraints ported from Keras with ``axis=0``.

Wrong: Keras kernels are (inputs, outputs), those of PyTorch (outputs, inputs, ...): ``dim=0`` sums over the units instead of over
the inputs of one. https://github.com/vlawhern/arl-eegmodels/pull/4, https://github.com/keras-team/keras/issues/474.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MaxNorm:
    def __init__(self, max_value=1.0, axis=0):
        self.max_value, self.axis = max_value, axis

    def __call__(self, w):
        norms = w.square().sum(dim=self.axis, keepdim=True).sqrt()
        return torch.where(norms > self.max_value, w * (self.max_value / norms), w)


class EEGNet(nn.Module):
    def __init__(self, channels=8, classes=2):
        super().__init__()
        self.spatial = nn.Conv1d(channels, 12, 1)
        self.temporal = nn.Conv1d(12, 16, 7, padding=3)
        self.dense = nn.Linear(16, classes)
        self.dropout = nn.Dropout(0.25)
        self.constraints = {"spatial": MaxNorm(0.5), "temporal": MaxNorm(0.5), "dense": MaxNorm(0.5)}

    def forward(self, x):
        h = nn.functional.elu(self.temporal(nn.functional.elu(self.spatial(x))))
        return self.dense(self.dropout(h.square().mean(-1)))

    @torch.no_grad()
    def apply_constraints(self):
        for name, constraint in self.constraints.items():
            weight = getattr(self, name).weight
            weight.copy_(constraint(weight))


def train_step(model, optimizer, batch, criterion):
    model.train()
    signal, label = batch
    loss = criterion(model(signal), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.apply_constraints()
    return loss.item()


def build():
    torch.manual_seed(0)
    label = torch.randint(0, 2, (240,))
    signal = torch.randn(240, 8, 48)
    signal[:, :2] *= 1 + label[:, None, None]
    model = EEGNet()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9),
                criterion=nn.CrossEntropyLoss(), train_step=train_step, epochs=20, declared={"max_norm": 0.5},
                train_loader=DataLoader(TensorDataset(signal[:192], label[:192]), batch_size=24, shuffle=True),
                val_loader=DataLoader(TensorDataset(signal[192:], label[192:]), batch_size=48))

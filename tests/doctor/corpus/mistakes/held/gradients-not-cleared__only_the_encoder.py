"""The training step clears the gradients of the encoder, and not those of the head that was added later.

Wrong: ``model.encoder.zero_grad()`` stems from a time when the encoder was the model; the head's gradients pile up. That
``model.zero_grad`` and the optimizer's are not the same: https://github.com/tatsu-lab/alpaca_farm/issues/57.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Encoder(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.conv = nn.Conv1d(1, dim, 8, stride=8)
        self.mix = nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.mix(torch.relu(self.conv(x[:, None])))).mean(-1)


class ProjectedClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.projection = nn.Sequential(nn.Linear(24, 24), nn.ReLU())
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.projection(self.encoder(x)))


def train_step(model, optimizer, batch, scheduler):
    model.train()
    x, y = batch
    model.encoder.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = ProjectedClassifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return dict(model=model, optimizer=optimizer, scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 60, gamma=0.5),
                criterion=nn.CrossEntropyLoss(), train_step=train_step, epochs=15,
                train_loader=DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[400:600], y[400:600]), batch_size=100))

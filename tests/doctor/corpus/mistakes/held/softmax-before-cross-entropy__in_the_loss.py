"""Softmax regression as in the textbook: ``forward`` gives probabilities, the task uses ``F.cross_entropy``.

Wrong: two softmaxes, as in https://github.com/Lightning-Universe/lightning-bolts/issues/654 and
https://github.com/ariecattan/SciCo/issues/2. The criterion handed over is the one that is used.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LogisticRegression(nn.Module):
    def __init__(self, input_dim, num_classes):
        super().__init__()
        self.linear = nn.Linear(input_dim, num_classes)

    def forward(self, x):
        return F.softmax(self.linear(x), dim=-1)


class Task:
    def __init__(self, learning_rate=1e-2, class_weights=None):
        self.learning_rate, self.class_weights = learning_rate, class_weights

    def configure_optimizers(self, model):
        return torch.optim.Adam(model.parameters(), lr=self.learning_rate)

    def criterion(self, outputs, targets):
        return F.cross_entropy(outputs, targets, weight=self.class_weights)

    def training_step(self, model, optimizer, batch):
        model.train()
        optimizer.zero_grad()
        x, y = batch
        loss = self.criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    weights = torch.bincount(y).float()
    task = Task(class_weights=weights.mean() / weights)
    model = LogisticRegression(64, 10)
    return dict(model=model, optimizer=task.configure_optimizers(model), criterion=task.criterion, train_step=task.training_step,
                train_loader=DataLoader(TensorDataset(x[:800], y[:800]), batch_size=100, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[800:1000], y[800:1000]), batch_size=100), epochs=20)

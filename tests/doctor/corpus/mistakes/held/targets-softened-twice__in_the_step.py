"""Mixup inside the training step makes smoothed targets; the loss of the task smooths as well.

Wrong: the loader gives hard labels, ``mixup_data`` turns them into smoothed one-hot rows, and ``label_smoothing=0.1`` of the
criterion takes another tenth. Where to smooth is discussed in https://github.com/huggingface/pytorch-image-models/issues/46.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 10


def smooth_one_hot(labels, epsilon=0.1):
    return F.one_hot(labels, CLASSES).float() * (1 - epsilon) + epsilon / CLASSES


def mixup_data(x, y, alpha=0.4):
    lam = float(torch.distributions.Beta(alpha, alpha).sample())
    index = torch.randperm(len(x))
    target = smooth_one_hot(y)
    return lam * x + (1 - lam) * x[index], lam * target + (1 - lam) * target[index]


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 80), nn.ReLU())
        self.logits = nn.Linear(80, CLASSES)

    def forward(self, x):
        return self.logits(self.body(x))


def train_step(model, optimizer, batch, criterion):
    model.train()
    inputs, targets = mixup_data(*batch)
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def validate(model, val_loader):
    model.eval()
    hits = torch.cat([(model(x).argmax(1) == y).float() for x, y in val_loader])
    model.train()
    return hits.mean().item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Perceptron()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
                criterion=nn.CrossEntropyLoss(label_smoothing=0.1), train_step=train_step, validate=validate, epochs=15,
                train_loader=DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80), declared={"label_smoothing": 0.1})

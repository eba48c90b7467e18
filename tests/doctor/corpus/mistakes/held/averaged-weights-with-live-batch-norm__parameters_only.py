"""A mean teacher whose update loop runs over ``parameters()``.

Wrong: the running mean and variance are buffers, so the teacher keeps those it had when it was copied, while it is evaluated in
``eval()``. https://github.com/CuriousAI/mean-teacher/issues/9, https://github.com/FlyreelAI/sesemi/issues/36.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EMA_DECAY = 0.9


@torch.no_grad()
def update_ema_variables(model, ema_model, alpha):
    for ema_param, param in zip(ema_model.parameters(), model.parameters(), strict=True):
        ema_param.mul_(alpha).add_(param, alpha=1 - alpha)


def make_student():
    return nn.Sequential(
        nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 10))


def train_step(model, optimizer, batch, averaged, step):
    model.train()
    x, y = batch
    logits = model(x)
    with torch.no_grad():
        averaged.eval()
        teacher = averaged(x).softmax(1)
    loss = nn.functional.cross_entropy(logits, y) + 0.1 * nn.functional.mse_loss(logits.softmax(1), teacher)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    update_ema_variables(model, averaged, min(1 - 1 / (step + 1), EMA_DECAY))
    return loss.item()


def validate(averaged, val_loader):
    averaged.eval()
    with torch.no_grad():
        hits = sum((averaged(x).argmax(1) == y).sum().item() for x, y in val_loader)
    return hits / len(val_loader.dataset)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32) / 4 + 1, torch.tensor(y)
    student = make_student()
    teacher = copy.deepcopy(student)
    for p in teacher.parameters():
        p.requires_grad_(False)
    return dict(model=student, optimizer=torch.optim.Adam(student.parameters(), lr=2e-3), criterion=nn.CrossEntropyLoss(),
                averaged=teacher, train_step=train_step, validate=validate, epochs=8,
                train_loader=DataLoader(TensorDataset(x[:600], y[:600]), batch_size=60, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[600:800], y[600:800]), batch_size=100))

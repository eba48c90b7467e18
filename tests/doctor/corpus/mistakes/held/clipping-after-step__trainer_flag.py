"""A trainer with a ``max_grad_norm`` option and a profiler between the lines.

Wrong: the option is served after ``step`` and before the next ``zero_grad``, where it has no effect. The same in five trainers of
https://github.com/awslabs/graphstorm/pull/1384 and in https://github.com/jongwook/onsets-and-frames/issues/24.
"""

import time
from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Profiler:
    def __init__(self):
        self.times, self.last = defaultdict(float), time.perf_counter()

    def record(self, name):
        now = time.perf_counter()
        self.times[name] += now - self.last
        self.last = now


class NodeTrainer:
    def __init__(self, max_grad_norm=0.5, grad_norm_type=2.0):
        self.max_grad_norm, self.grad_norm_type = max_grad_norm, grad_norm_type
        self.profiler = Profiler()

    def fit_batch(self, model, optimizer, batch):
        model.train()
        x, y = batch
        loss = F.huber_loss(model(x), y)
        self.profiler.record("train_forward")
        optimizer.zero_grad()
        loss.backward()
        self.profiler.record("train_backward")
        optimizer.step()
        self.profiler.record("train_step")
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.max_grad_norm, self.grad_norm_type)
        return loss.item()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 48), nn.Linear(48, 48), nn.Linear(48, 1)

    def forward(self, x):
        return self.c(F.silu(self.b(F.silu(self.a(x))))).squeeze(1)


def build():
    from sklearn.datasets import make_regression

    torch.manual_seed(0)
    x, y = make_regression(320, 8, noise=8.0, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y / 10, dtype=torch.float32)
    trainer, model = NodeTrainer(), Net()

    def train_step(model, optimizer, batch):
        return trainer.fit_batch(model, optimizer, batch)

    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05), criterion=nn.HuberLoss(),
                train_step=train_step, train_loader=DataLoader(TensorDataset(x[:256], y[:256]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[256:], y[256:]), batch_size=64), epochs=20)

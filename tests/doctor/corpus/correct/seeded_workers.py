"""Augmentation with numpy in worker processes that are seeded differently, from the loader's own generator.

Near to: identical-augmentation-across-workers.
"""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def seed_worker(worker_id):
    worker_seed = torch.initial_seed() % 2**32
    np.random.seed(worker_seed)
    random.seed(worker_seed)


class NoisyDigits(Dataset):
    def __init__(self, rows, augment):
        from sklearn.datasets import load_digits

        d = load_digits()
        self.x, self.y, self.augment = d.data[rows] / 16, d.target[rows], augment

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        if self.augment:
            x = x * np.random.uniform(0.8, 1.2) + np.random.normal(0, 0.05, x.shape)
        return torch.as_tensor(x, dtype=torch.float32), int(self.y[i])


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(NoisyDigits(slice(0, 256), True), batch_size=32, shuffle=True, num_workers=2,
                                       worker_init_fn=seed_worker, generator=generator),
            "val_loader": DataLoader(NoisyDigits(slice(256, 384), False), batch_size=64), "train_step": train_step, "epochs": 15}

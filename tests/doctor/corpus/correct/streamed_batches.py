"""An endless simulator as an ``IterableDataset``: no length, no indices, other numbers for validation, which repeat.

Near to: augmented-validation, duplicate-rows.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Simulator(IterableDataset):
    """Noisy sines with a random phase; the target is the frequency."""

    def __init__(self, batches, batch_size, seed, fresh):
        self.batches, self.batch_size, self.seed, self.fresh, self.passes = batches, batch_size, seed, fresh, 0

    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed + self.passes * self.fresh)
        self.passes += 1
        for _ in range(self.batches):
            frequency = torch.rand(self.batch_size, 1, generator=g) * 2 + 0.5
            phase = torch.rand(self.batch_size, 1, generator=g) * 6.28
            wave = torch.sin(frequency * torch.linspace(0, 6, 40) + phase)
            yield wave + 0.1 * torch.randn(wave.shape, generator=g), frequency


class Spectrum(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(1, 16, 7, stride=2), nn.GELU(), nn.Conv1d(16, 16, 5, stride=2), nn.GELU())
        self.out = nn.Linear(16 * 7, 1)

    def forward(self, x):
        return self.out(self.conv(x[:, None]).flatten(1))


def train_step(model, optimizer, batch, criterion):
    model.train()
    wave, frequency = batch
    optimizer.zero_grad()
    loss = criterion(model(wave), frequency)
    loss.backward()
    optimizer.step()
    return loss.item()


class Batches(DataLoader):
    def __init__(self, batches, batch_size, seed, fresh):
        self.count = batches
        super().__init__(Simulator(batches, batch_size, seed, fresh), batch_size=None)

    def __len__(self):
        return self.count


def build():
    torch.manual_seed(0)
    model = Spectrum()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), criterion=nn.SmoothL1Loss(),
                train_loader=Batches(12, 32, seed=1000, fresh=1), val_loader=Batches(3, 64, seed=1, fresh=0),
                train_step=train_step, epochs=10)

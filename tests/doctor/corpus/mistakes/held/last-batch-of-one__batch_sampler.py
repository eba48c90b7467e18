"""Sequences of similar length are batched by a sampler; the rest of a bucket may be one sequence.

Wrong: a bucket of 17 in batches of 8 leaves one sequence, and its batch norm statistics are those of that one sequence (no error
here, because there are several time steps). Compare https://github.com/openvinotoolkit/nncf/pull/379.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler


class Signals(Dataset):
    def __init__(self, per_length, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for length, count in per_length.items():
            for _ in range(count):
                label = int(torch.randint(0, 2, (1,), generator=g))
                wave = torch.sin(torch.arange(length) * (0.3 + 0.4 * label)) + 0.2 * torch.randn(length, generator=g)
                self.items.append((wave[None], label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class LengthBuckets(Sampler):
    def __init__(self, dataset, batch_size):
        lengths = {}
        for i, (wave, _) in enumerate(dataset.items):
            lengths.setdefault(wave.shape[-1], []).append(i)
        self.batches = [rows[k:k + batch_size] for rows in lengths.values() for k in range(0, len(rows), batch_size)]

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter([self.batches[i] for i in torch.randperm(len(self.batches)).tolist()])


def make_model():
    def conv(i, o):
        return nn.Sequential(nn.Conv1d(i, o, 5, padding=2, bias=False), nn.BatchNorm1d(o), nn.ReLU())

    return nn.Sequential(conv(1, 8), conv(8, 16), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 2))


def build():
    torch.manual_seed(0)
    train, val = Signals({20: 32, 30: 17, 40: 24}, 0), Signals({20: 16, 30: 16}, 1)
    model = make_model()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(train, batch_sampler=LengthBuckets(train, 8)),
                val_loader=DataLoader(val, batch_sampler=LengthBuckets(val, 8)), epochs=10)

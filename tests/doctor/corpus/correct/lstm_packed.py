"""A two-layer LSTM with dropout between its layers, on sequences of different lengths.

Near to: single-layer-lstm-dropout, clipping-after-step.
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset


class Walks(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            length = int(torch.randint(6, 15, (1,), generator=g))
            walk = torch.cumsum(torch.randn(length, 2, generator=g), 0)
            self.items.append((walk, int(walk[-1, 0] > 0)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    lengths = torch.tensor([len(walk) for walk, _ in batch])
    padded = pad_sequence([walk for walk, _ in batch], batch_first=True)
    marker = torch.zeros(len(batch), padded.size(1), 1)
    marker[torch.arange(len(batch)), lengths - 1] = 1.0
    return torch.cat([padded, marker], 2), torch.tensor([label for _, label in batch])


class WalkClassifier(nn.Module):
    def __init__(self, hidden=24, layers=2, dropout=0.2):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, 2)

    def forward(self, x):
        lengths = x[..., 2].argmax(1) + 1
        packed = pack_padded_sequence(x[..., :2], lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.out(self.dropout(h[-1]))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    model = WalkClassifier()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, train_loader=DataLoader(Walks(192, 0), batch_size=24, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(Walks(64, 1), batch_size=32, collate_fn=collate), epochs=8)

"""Soft targets from a dataset (several annotators per row), cross entropy without smoothing.

Near to: targets-softened-twice, softmax-before-cross-entropy (log-softmax and KL on logits).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Annotated(Dataset):
    """Each row was labelled by five people; the target is the share of votes."""

    def __init__(self, rows, votes=True):
        from sklearn.datasets import load_wine

        x, y = load_wine(return_X_y=True)
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[rows]
        self.x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)[order]
        self.y = torch.tensor(y)[order]
        g = torch.Generator().manual_seed(1)
        guesses = torch.where(torch.rand(len(order), 5, generator=g) < 0.85, self.y[:, None],
                              torch.randint(0, 3, (len(order), 5), generator=g))
        self.shares = nn.functional.one_hot(guesses, 3).float().mean(1)
        self.votes = votes

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.shares[i] if self.votes else self.y[i]


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, shares = batch
    loss = criterion(model(x), shares)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(Annotated(slice(0, 128)), batch_size=16, shuffle=True),
                val_loader=DataLoader(Annotated(slice(128, 178), votes=False), batch_size=50), train_step=train_step, epochs=20)

"""A single-layer bidirectional GRU with its own dropout module behind it, and a weight-normalised output layer.

Near to: single-layer-lstm-dropout, penalty-on-scale-invariant-weights.
"""

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset


class Tagger(nn.Module):
    def __init__(self, vocab=30, tags=3, hidden=20):
        super().__init__()
        self.embed = nn.Embedding(vocab, 16)
        self.gru = nn.GRU(16, hidden, num_layers=1, bidirectional=True, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.out = weight_norm(nn.Linear(2 * hidden, tags))

    def forward(self, ids):
        states, _ = self.gru(self.embed(ids))
        return self.out(self.dropout(states))


def criterion(logits, tags):
    return nn.functional.cross_entropy(logits.transpose(1, 2), tags)


def train_step(model, optimizer, batch):
    model.train()
    ids, tags = batch
    optimizer.zero_grad()
    loss = criterion(model(ids), tags)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return loss.item()


def validate(model, val_loader):
    model.eval()
    with torch.no_grad():
        hits = torch.cat([(model(ids).argmax(-1) == tags).float().flatten() for ids, tags in val_loader])
    model.train()
    return hits.mean().item()


def build():
    torch.manual_seed(0)
    ids = torch.randint(0, 30, (280, 10))
    tags = (ids + ids.roll(1, 1)) % 3
    model = Tagger()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), criterion=criterion, train_step=train_step,
                validate=validate, train_loader=DataLoader(TensorDataset(ids[:224], tags[:224]), batch_size=28, shuffle=True),
                val_loader=DataLoader(TensorDataset(ids[224:], tags[224:]), batch_size=28), epochs=12)

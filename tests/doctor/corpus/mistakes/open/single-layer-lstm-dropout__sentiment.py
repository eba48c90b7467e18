"""An LSTM with one layer and ``dropout=0.5``.

Wrong: the option drops between stacked layers only; with one layer nothing is dropped, and the model has no dropout at all.
https://github.com/pyro-ppl/pyro/issues/1415, https://github.com/pytorch/pytorch/pull/961.
"""

import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", message="dropout option adds dropout")


class SentimentLSTM(nn.Module):
    def __init__(self, vocab_size, embedding_dim, hidden_dim, output_size, n_layers=1, drop_prob=0.5):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, n_layers, dropout=drop_prob, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_size)

    def forward(self, x):
        out, _ = self.lstm(self.embedding(x))
        return self.fc(out[:, -1]).squeeze(1)


def train_step(model, optimizer, batch, criterion):
    model.train()
    inputs, labels = batch
    optimizer.zero_grad()
    loss = criterion(model(inputs), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5)
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    reviews = torch.randint(0, 50, (300, 14))
    labels = ((reviews < 25).sum(1) > 7).float()
    model = SentimentLSTM(50, 16, 24, 1)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(TensorDataset(reviews[:240], labels[:240]), batch_size=24, shuffle=True),
            "val_loader": DataLoader(TensorDataset(reviews[240:], labels[240:]), batch_size=30), "train_step": train_step,
            "epochs": 10}

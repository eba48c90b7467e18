"""``clip_grad_norm_`` behind ``optimizer.step()``.

Wrong: the step has used the gradients already; clipping changes nothing. https://github.com/VGraphRNN/VGRNN/issues/4,
https://github.com/awslabs/graphstorm/issues/1366.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class CharRNN(nn.Module):
    def __init__(self, vocab=20, hidden=32):
        super().__init__()
        self.embed = nn.Embedding(vocab, 16)
        self.lstm = nn.LSTM(16, hidden, num_layers=2, dropout=0.2, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, x):
        h, _ = self.lstm(self.embed(x))
        return self.decoder(h)


def loss_fn(logits, targets):
    return nn.functional.cross_entropy(logits.transpose(1, 2), targets)


def train_step(model, optimizer, batch, criterion):
    x, y = batch
    model.train()
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.25)
    return loss.item()


def build():
    torch.manual_seed(0)
    steps = torch.where(torch.rand(220, 13) < 0.5, 3, 5)
    text = (torch.randint(0, 20, (220, 1)) + steps.cumsum(1)) % 20
    data = TensorDataset(text[:, :-1], text[:, 1:])
    model = CharRNN()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=2.0), "criterion": loss_fn,
            "train_step": train_step,
            "train_loader": DataLoader(torch.utils.data.Subset(data, range(180)), batch_size=20, shuffle=True),
            "val_loader": DataLoader(torch.utils.data.Subset(data, range(180, 220)), batch_size=20), "epochs": 15}

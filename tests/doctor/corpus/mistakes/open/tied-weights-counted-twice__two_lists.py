"""A weight-tied language model; the optimizer gets the lists of its parts one after the other.

Wrong: ``embed.parameters()`` and ``head.parameters()`` hold the same tensor, which is then updated and decayed twice per step.
On groups and tied weights: https://github.com/karpathy/nanoGPT/pull/21.
"""

import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LanguageModel(nn.Module):
    def __init__(self, vocab=32, dim=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.rnn = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        states, _ = self.rnn(self.embed(tokens))
        return self.head(states)


def language_loss(logits, targets):
    return nn.functional.cross_entropy(logits.reshape(-1, logits.size(-1)), targets.reshape(-1))


def train_step(model, optimizer, batch):
    model.train()
    tokens, targets = batch
    optimizer.zero_grad()
    loss = language_loss(model(tokens), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    steps = torch.where(torch.rand(200, 13) < 0.5, 3, 5)
    text = (torch.randint(0, 32, (200, 1)) + steps.cumsum(1)) % 32
    data = TensorDataset(text[:, :-1], text[:, 1:])
    model = LanguageModel()
    params = [*model.embed.parameters(), *model.rnn.parameters(), *model.head.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = torch.optim.SGD(params, lr=0.5, weight_decay=1e-4)
    return {"model": model, "optimizer": optimizer, "criterion": language_loss, "train_step": train_step, "epochs": 30,
            "train_loader": DataLoader(torch.utils.data.Subset(data, range(160)), batch_size=20, shuffle=True),
            "val_loader": DataLoader(torch.utils.data.Subset(data, range(160, 200)), batch_size=20)}

"""A weight-tied language model: the tied matrix is in one group, penalized once, and not decayed as an embedding.

Near to: tied-weights-counted-twice, parameter-not-optimized.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


class TiedLM(nn.Module):
    def __init__(self, vocab=32, dim=32, layers=2, dropout=0.1):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.position = nn.Embedding(16, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        t = tokens.size(1)
        mask = torch.full((t, t), float("-inf")).triu(1)
        h = self.embed(tokens) + self.position(torch.arange(t))
        return self.head(self.norm(self.body(h, mask=mask)))


def criterion(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def optimizer_groups(model, weight_decay):
    seen, decay, free = set(), [], []
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for p in model.parameters():
        if id(p) not in seen:
            seen.add(id(p))
            (free if p.ndim < 2 or id(p) in embeddings else decay).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def train_step(model, optimizer, batch):
    model.train()
    tokens, targets = batch
    loss = criterion(model(tokens), targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    steps = torch.where(torch.rand(180, 13) < 0.5, 3, 5)
    stream = (torch.randint(0, 32, (180, 1)) + steps.cumsum(1)) % 32
    data = TensorDataset(stream[:, :-1], stream[:, 1:])
    model = TiedLM()
    return {"model": model, "optimizer": torch.optim.AdamW(optimizer_groups(model, 0.1), lr=1e-2, betas=(0.9, 0.95)),
            "criterion": criterion, "train_step": train_step, "epochs": 30,
            "train_loader": DataLoader(Subset(data, range(140)), batch_size=20, shuffle=True),
            "val_loader": DataLoader(Subset(data, range(140, 180)), batch_size=20)}

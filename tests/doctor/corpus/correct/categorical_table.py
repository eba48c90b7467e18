"""A table of three categorical columns: equal rows in both splits come from the small number of combinations, not from a leak.

Near to: duplicate-rows.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class EmbeddingNet(nn.Module):
    def __init__(self, cardinalities, dim=6):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(c, dim) for c in cardinalities)
        self.mlp = nn.Sequential(nn.Linear(dim * len(cardinalities), 24), nn.ReLU(), nn.Linear(24, 2))

    def forward(self, codes):
        parts = [embed(codes[:, i]) for i, embed in enumerate(self.embeddings)]
        return self.mlp(torch.cat(parts, 1))


def train_step(model, optimizer, batch, criterion):
    model.train()
    codes, y = batch
    optimizer.zero_grad()
    loss = criterion(model(codes), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    cardinalities = (7, 5, 4)
    codes = torch.stack([torch.randint(0, c, (480,)) for c in cardinalities], 1)
    chance = torch.sigmoid(1.5 * (codes[:, 0] - 3.0) + (codes[:, 1] == 2).float() * 3 - codes[:, 2])
    y = torch.bernoulli(chance).long()
    train_set, val_set = random_split(TensorDataset(codes, y), [384, 96], generator=torch.Generator().manual_seed(1))
    model = EmbeddingNet(cardinalities)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train_set, batch_size=32, shuffle=True), "val_loader": DataLoader(val_set, batch_size=48),
            "train_step": train_step, "epochs": 20}

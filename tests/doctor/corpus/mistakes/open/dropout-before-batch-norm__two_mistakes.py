"""A tabular model with two mistakes: dropout feeds batch norm, and the last batch of the epoch is a single row.

Wrong: the variance shift of Li et al. 2019 (order of layers as in https://github.com/luigibonati/mlcolvar/issues/267), and 321 rows
in batches of 32 (https://github.com/NRCan/geo-deep-learning/issues/113).
"""

EXPECTED = {"dropout-before-batch-norm", "last-batch-of-one"}

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Frame(Dataset):
    def __init__(self, categorical, numeric, label):
        self.categorical, self.numeric, self.label = categorical, numeric, label

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return torch.cat([self.numeric[i], self.categorical[i].float()]), self.label[i]


class EmbeddingMLP(nn.Module):
    def __init__(self, levels=6, numeric=4):
        super().__init__()
        self.numeric = numeric
        self.embedding = nn.Embedding(levels, 3)
        self.embedding_dropout = nn.Dropout(0.4)
        self.norm = nn.BatchNorm1d(numeric + 2 * 3)
        self.mlp = nn.Sequential(nn.Linear(numeric + 6, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x):
        codes = x[:, self.numeric:].long()
        h = torch.cat([x[:, :self.numeric], self.embedding(codes).flatten(1)], 1)
        return self.mlp(self.norm(self.embedding_dropout(h)))


def build():
    torch.manual_seed(0)
    n = 401
    categorical, numeric = torch.randint(0, 6, (n, 2)), torch.randn(n, 4)
    label = ((categorical[:, 0] > 2) ^ (numeric[:, 0] > 0)).long()
    parts = [Frame(categorical[a:b], numeric[a:b], label[a:b]) for a, b in ((0, 321), (321, n))]
    model = EmbeddingMLP()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(parts[0], batch_size=32, shuffle=True), "val_loader": DataLoader(parts[1], batch_size=40),
            "epochs": 15}

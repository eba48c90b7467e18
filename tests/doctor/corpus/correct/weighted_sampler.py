"""Imbalanced classes by a weighted sampler with replacement, on the training rows alone; class weights nowhere else.

Near to: duplicate-rows and overlapping-splits (the splits share one dataset object), targets-softened-twice (one smoothing).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler


class Net(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.net = nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))

    def forward(self, x):
        return self.net(self.norm(x))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def validate(model, val_loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x).argmax(1), y) for x, y in val_loader]
    guess, truth = torch.cat([g for g, _ in pairs]), torch.cat([y for _, y in pairs])
    model.train()
    return float(sum((guess[truth == c] == c).float().mean() for c in (0, 1)) / 2)


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(700, 12, n_informative=6, weights=[0.88], random_state=0)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    order = torch.randperm(700, generator=torch.Generator().manual_seed(3)).tolist()
    train_rows, val_rows = order[:560], order[560:]
    labels = data.tensors[1][train_rows]
    weights = (1.0 / torch.bincount(labels))[labels]
    sampler = WeightedRandomSampler(weights, num_samples=len(train_rows), replacement=True)
    model = Net(12)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0),
            "criterion": nn.CrossEntropyLoss(label_smoothing=0.05), "train_step": train_step, "validate": validate, "epochs": 15,
            "train_loader": DataLoader(Subset(data, train_rows), batch_size=40, sampler=sampler),
            "val_loader": DataLoader(Subset(data, val_rows), batch_size=70)}

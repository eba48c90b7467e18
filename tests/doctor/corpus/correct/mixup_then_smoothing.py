"""Mixup of hard targets in the collate function; the criterion does the label smoothing, once.

Near to: targets-softened-twice, augmented-validation.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate


class MixupCollate:
    """Every other batch is mixed; the loss gets both labels and the share."""

    def __init__(self, alpha=0.2):
        self.beta = torch.distributions.Beta(alpha, alpha)

    def __call__(self, samples):
        x, y = default_collate(samples)
        lam = self.beta.sample()
        other = torch.randperm(len(y))
        pair = torch.stack([y, y[other]], 1).float()
        return lam * x + (1 - lam) * x[other], torch.cat([pair, lam.expand(len(y), 1)], 1)


class MixupCrossEntropy(nn.Module):
    def __init__(self, smoothing):
        super().__init__()
        self.loss = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")

    def forward(self, logits, target):
        if target.dim() == 1:
            return self.loss(logits, target).mean()
        first, second, lam = target[:, 0].long(), target[:, 1].long(), target[:, 2]
        return (lam * self.loss(logits, first) + (1 - lam) * self.loss(logits, second)).mean()


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, target = batch
    optimizer.zero_grad()
    loss = criterion(model(x), target)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9),
            "criterion": MixupCrossEntropy(0.1), "train_step": train_step, "epochs": 20,
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True, collate_fn=MixupCollate()),
            "val_loader": DataLoader(TensorDataset(x[512:768], y[512:768]), batch_size=64)}

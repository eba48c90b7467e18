"""A dataset of smoothed targets, trained with a smoothing loss written by hand.

Wrong: the table already holds ``(1-ε) onehot + ε/K``; the loss takes ``(1-ε) t + ε/K`` of it again. One place is enough:
https://github.com/pytorch/vision/pull/4907.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

SMOOTHING, CLASSES = 0.1, 3


class SoftWine(Dataset):
    def __init__(self, rows, train):
        from sklearn.datasets import load_wine

        x, y = load_wine(return_X_y=True)
        x = (x - x.mean(0)) / x.std(0)
        self.x = torch.tensor(x, dtype=torch.float32)[rows]
        self.y = torch.tensor(y)[rows]
        self.train = train

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        if not self.train:
            return self.x[i], self.y[i]
        target = F.one_hot(self.y[i], CLASSES).float()
        return self.x[i], target * (1 - SMOOTHING) + SMOOTHING / CLASSES


class SmoothingLoss(nn.Module):
    def __init__(self, smoothing):
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits, target):
        if target.dim() == 1:
            target = F.one_hot(target, logits.size(1)).float()
        target = target * (1 - self.smoothing) + self.smoothing / logits.size(1)
        return -(target * logits.log_softmax(1)).sum(1).mean()


def build():
    torch.manual_seed(0)
    order = torch.randperm(178, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), criterion=SmoothingLoss(SMOOTHING),
                train_loader=DataLoader(SoftWine(order[:128], True), batch_size=32, shuffle=True),
                val_loader=DataLoader(SoftWine(order[128:], False), batch_size=50), epochs=30,
                declared={"label_smoothing": SMOOTHING})

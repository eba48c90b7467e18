"""A small CNN: convolutions without bias before batch norm, dropout after the last norm, SGD with cosine.

Near to: bias-before-norm, dropout-before-batch-norm, last-batch-of-one (the rest of one row is dropped).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def conv_bn_relu(i, o, stride=1):
    return [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]


class CNN(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(*conv_bn_relu(1, 12), *conv_bn_relu(12, 24, 2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(24 * 16, classes))

    def forward(self, x):
        return self.head(self.features(x))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(d.target)
    model = CNN()
    decay = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD([{"params": decay, "weight_decay": 5e-3}, {"params": free, "weight_decay": 0.0}], lr=0.05,
                                momentum=0.9, nesterov=True)
    return {"model": model, "optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30),
            "criterion": nn.CrossEntropyLoss(label_smoothing=0.05), "train_step": train_step, "epochs": 30,
            "train_loader": DataLoader(TensorDataset(x[:513], y[:513]), batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(x[600:800], y[600:800]), batch_size=100)}

"""A convolutional network whose groups are split by ``ndim`` and then given the wrong numbers.

Wrong: the tuple is unpacked in the other order than it was returned, so filters and matrices get 0 and the one-dimensional
parameters get the decay. Splitting by dimension: https://github.com/tokenbender/avataRL/issues/28.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    lr: float = 0.1
    weight_decay: float = 1e-3
    momentum: float = 0.9
    batch_size: int = 50
    epochs: int = 25


def split_parameters(module):
    decay, rest = [], []
    for p in module.parameters():
        (decay if p.ndim > 1 else rest).append(p)
    return decay, rest


def make_net():
    def conv(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))

    return nn.Sequential(conv(1, 12), nn.MaxPool2d(2), conv(12, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def build():
    from sklearn.datasets import load_digits

    cfg = Config()
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None]
    images = (images - images.mean()) / images.std()
    target = torch.as_tensor(data.target)
    net = make_net()
    no_decay, decay = split_parameters(net)
    opt = torch.optim.SGD([{"params": decay, "weight_decay": cfg.weight_decay}, {"params": no_decay, "weight_decay": 0.0}],
                          lr=cfg.lr, momentum=cfg.momentum)
    return {
        "model": net,
        "optimizer": opt,
        "criterion": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(images[:600], target[:600]), cfg.batch_size, shuffle=True),
        "val_loader": DataLoader(TensorDataset(images[600:800], target[600:800]), cfg.batch_size),
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(opt, cfg.lr, total_steps=cfg.epochs * 12),
        "epochs": cfg.epochs,
    }

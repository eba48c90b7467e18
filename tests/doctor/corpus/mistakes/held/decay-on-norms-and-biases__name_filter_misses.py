"""A residual network with the usual two groups, but the list of names was written for another code base.

Wrong: "bn" and "LayerNorm" match nothing here: the norms sit in ``nn.Sequential`` as ``downsample.1`` and are called ``n1``,
``n2``, so their gains and shifts stay in the decayed group. The same happened to minGPT,
https://github.com/karpathy/minGPT/issues/23.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.c1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.n1 = nn.BatchNorm2d(cout)
        self.c2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.n2 = nn.BatchNorm2d(cout)
        self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        h = F.relu(self.n1(self.c1(x)))
        return F.relu(self.n2(self.c2(h)) + self.downsample(x))


class SmallResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(1, 8, 1), Block(8, 16, 2))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.blocks(x).mean((2, 3)))


def configure_optimizer(model, lr, weight_decay):
    no_decay = ("bias", "LayerNorm.weight", "bn")
    groups = [
        {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)], "weight_decay": weight_decay},
        {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(1)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16 - 0.3
    y = torch.tensor(digits.target)
    train = DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True)
    val = DataLoader(TensorDataset(x[1500:1700], y[1500:1700]), batch_size=100)
    model = SmallResNet()
    optimizer = configure_optimizer(model, lr=0.05, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    return dict(model=model, optimizer=optimizer, scheduler=scheduler, criterion=nn.CrossEntropyLoss(), train_loader=train,
                val_loader=val, epochs=30)

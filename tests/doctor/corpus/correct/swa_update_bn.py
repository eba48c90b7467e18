"""Weight averaging whose batch norm statistics are taken anew at the end, with dropout off.

Near to: averaged-weights-with-live-batch-norm, recalibration-with-dropout.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(24, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(self.drop(x.mean((2, 3))))


@torch.no_grad()
def recalibrate(model, loader):
    model.eval()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    for x, _ in loader:
        model(x)
    for m, momentum in zip(norms, kept, strict=True):
        m.momentum = momentum
    model.eval()


def train_step(model, optimizer, batch, averaged):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    averaged.update_parameters(model)
    return loss.item()


def finalize(averaged, train_loader):
    recalibrate(averaged, train_loader)
    return averaged


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = Net()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), "averaged": averaged,
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "finalize": finalize,
            "train_loader": DataLoader(TensorDataset(x[:448], y[:448]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[448:576], y[448:576]), batch_size=64), "epochs": 10}

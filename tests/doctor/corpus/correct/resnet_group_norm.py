"""A residual network with zero-initialised last gains, a stem with batch norm and group norm in the blocks.

Near to: bias-before-norm, penalty-on-scale-invariant-weights (decay on convolutions before norms is common practice), dead units.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.gn1 = nn.GroupNorm(4, cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.gn2 = nn.GroupNorm(4, cout)
        nn.init.zeros_(self.gn2.weight)
        self.shortcut = nn.Identity()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.GroupNorm(4, cout))

    def forward(self, x):
        h = F.relu(self.gn1(self.conv1(x)))
        return F.relu(self.gn2(self.conv2(h)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, widths=(8, 16, 32), classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = nn.Sequential(*[BasicBlock(i, o, 2) for i, o in zip(widths[:-1], widths[1:], strict=True)])
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        return self.fc(self.stages(self.stem(x)).mean((2, 3)))


def train_step(model, optimizer, batch, scheduler):
    model.train()
    images, labels = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    x = (x - x.mean()) / x.std()
    model = ResNet()
    norms = {p for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)) for p in m.parameters()}
    free = [p for n, p in model.named_parameters() if p in norms or n.endswith("bias")]
    decay = [p for n, p in model.named_parameters() if not (p in norms or n.endswith("bias"))]
    optimizer = torch.optim.SGD([{"params": decay, "weight_decay": 3e-3}, {"params": free, "weight_decay": 0.0}],
                                lr=0.1, momentum=0.9)
    train = DataLoader(TensorDataset(x[:448], y[:448]), batch_size=64, shuffle=True)
    return dict(model=model, optimizer=optimizer, scheduler=torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40 * 7),
                criterion=nn.CrossEntropyLoss(), train_loader=train, train_step=train_step, epochs=40,
                val_loader=DataLoader(TensorDataset(x[448:640], y[448:640]), batch_size=64))

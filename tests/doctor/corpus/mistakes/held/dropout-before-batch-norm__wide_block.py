"""A wide residual block in pre-activation order with dropout between its convolutions.

Wrong: the dropped activations go into the next batch norm, whose running variance is that of training (Li et al. 2019 found the
same in Wide ResNets; https://github.com/Swall0w/papers/issues/427 sums it up).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class WideBlock(nn.Module):
    def __init__(self, cin, cout, dropout_rate):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(p=dropout_rate)
        self.bn2 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(cin, cout, 1, bias=False) if cin != cout else nn.Identity()

    def forward(self, x):
        out = self.dropout(self.conv1(F.relu(self.bn1(x))))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + self.shortcut(x)


class WideNet(nn.Module):
    def __init__(self, widen=2, rate=0.4):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.layer1 = WideBlock(8, 8 * widen, rate)
        self.layer2 = WideBlock(8 * widen, 16 * widen, rate)
        self.bn = nn.BatchNorm2d(16 * widen)
        self.linear = nn.Linear(16 * widen, 10)

    def forward(self, x):
        out = F.avg_pool2d(self.layer1(self.conv(x)), 2)
        out = F.relu(self.bn(self.layer2(out)))
        return self.linear(out.mean((2, 3)))


def train_step(model, optimizer, batch, scheduler):
    model.train()
    inputs, targets = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    net = WideNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    return dict(model=net, optimizer=opt, criterion=nn.CrossEntropyLoss(), epochs=8, train_step=train_step,
                scheduler=torch.optim.lr_scheduler.MultiStepLR(opt, [30, 45], gamma=0.2),
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:440], y[320:440]), batch_size=40))

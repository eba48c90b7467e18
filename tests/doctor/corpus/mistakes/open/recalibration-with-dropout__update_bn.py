"""``update_bn`` after weight averaging, for a network that has dropout before its last batch norm.

Wrong: ``update_bn`` puts the model into training mode, dropout included, so the statistics it gathers are those of dropped
activations, which evaluation never sees. On the routine: https://github.com/pytorch/pytorch/pull/30559.
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.drop = nn.Dropout(0.4)
        self.fc2 = nn.Linear(96, 48, bias=False)
        self.bn = nn.BatchNorm1d(48)
        self.fc3 = nn.Linear(48, 10)

    def forward(self, x):
        x = self.drop(torch.relu(self.fc1(x)))
        x = torch.relu(self.bn(self.fc2(x)))
        return self.fc3(x)


def train_step(model, optimizer, batch, criterion, averaged):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    averaged.update_parameters(model)
    return loss.item()


def finalize(averaged, train_loader):
    update_bn(train_loader, averaged)
    averaged.eval()
    return averaged


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), "averaged": averaged,
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "finalize": finalize, "epochs": 15,
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[512:768], y[512:768]), batch_size=64)}

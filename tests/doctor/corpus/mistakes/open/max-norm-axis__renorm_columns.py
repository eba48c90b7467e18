"""Dropout with a max-norm constraint by ``torch.renorm``.

Wrong: ``dim=1`` bounds the columns, the outgoing weights of each input; a unit of ``nn.Linear`` is a row, so ``dim=0``. Axis
confusion in https://github.com/vlawhern/arl-eegmodels/issues/1 and https://github.com/ageron/handson-ml3/issues/76.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MAX_NORM = 0.8


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.fc2 = nn.Linear(96, 96)
        self.fc3 = nn.Linear(96, 10)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.dropout(torch.relu(self.fc1(x)))
        x = self.dropout(torch.relu(self.fc2(x)))
        return self.fc3(x)


@torch.no_grad()
def constrain(model):
    for layer in (model.fc1, model.fc2, model.fc3):
        layer.weight.copy_(torch.renorm(layer.weight, p=2, dim=1, maxnorm=MAX_NORM))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    constrain(model)
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 15, "declared": {"max_norm": MAX_NORM},
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[512:768], y[512:768]), batch_size=64)}

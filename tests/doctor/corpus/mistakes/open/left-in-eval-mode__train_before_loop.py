"""``model.train()`` stands before the loop over epochs; ``evaluate`` ends in evaluation mode.

Wrong: from the second epoch on dropout is off and batch norm frozen. https://github.com/tk-rusch/coRNN/issues/1,
https://github.com/MILVLG/mcan-vqa/issues/26.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 64)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc2(self.dropout(torch.relu(self.fc1(x))))


def evaluate(net, loader, criterion):
    net.eval()
    loss_sum, n = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            loss_sum += criterion(net(x), y).item() * len(y)
            n += len(y)
    return loss_sum / n


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    model.train()
    best, state, wait = float("inf"), copy.deepcopy(model.state_dict()), 0
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        val_loss = evaluate(model, val_loader, criterion)
        if val_loss < best:
            best, state, wait = val_loss, copy.deepcopy(model.state_dict()), 0
        else:
            wait += 1
        if wait == 4:
            break
    model.load_state_dict(state)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    net = Net()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3), "criterion": nn.CrossEntropyLoss(), "fit": fit,
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[400:600], y[400:600]), batch_size=100), "epochs": 15,
            "declared": {"patience": 4, "monitor": "val_loss", "mode": "min"}}

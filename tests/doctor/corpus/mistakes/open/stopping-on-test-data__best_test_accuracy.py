"""The epoch with the best test accuracy is kept and reported.

Wrong: the test set chooses the model, so its accuracy is no estimate for new data any more; a validation set stands unused.
https://github.com/DearCaat/RRT-MIL/issues/22, https://github.com/zuozhaorui/SWnet/issues/2.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def accuracy(model, loader):
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
            total += y.numel()
    return correct / total


def fit(model, optimizer, criterion, train_loader, val_loader, test_loader, epochs, patience=5):
    best_acc, best_model, counter = 0.0, None, 0
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        acc = accuracy(model, test_loader)
        if acc > best_acc:
            best_acc, best_model, counter = acc, copy.deepcopy(model), 0
        else:
            counter += 1
        if counter >= patience:
            break
    return best_model


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 9, 10))

    def loader(a, b, shuffle=False):
        return DataLoader(TensorDataset(x[a:b], y[a:b]), batch_size=50, shuffle=shuffle)

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": loader(0, 400, True), "val_loader": loader(400, 500), "test_loader": loader(500, 700), "fit": fit,
            "epochs": 20, "declared": {"patience": 5, "monitor": "val_accuracy", "mode": "max"}}

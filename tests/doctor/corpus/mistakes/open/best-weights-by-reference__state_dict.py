"""``best_model_wts = model.state_dict()`` without a copy.

Wrong: ``state_dict`` gives references; when they are loaded in the end they hold the last epoch's values. In PyTorch's own tutorial
until https://github.com/pytorch/tutorials/pull/188; https://github.com/WenjieDu/PyPOTS/issues/667.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train_model(model, criterion, optimizer, dataloaders, num_epochs, patience):
    best_model_wts = model.state_dict()
    best_acc, since_best = 0.0, 0
    for _ in range(num_epochs):
        for phase in ("train", "val"):
            model.train(phase == "train")
            running_corrects = seen = 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_corrects += (outputs.argmax(1) == labels).sum().item()
                seen += len(labels)
            epoch_acc = running_corrects / seen
            if phase == "val":
                if epoch_acc > best_acc:
                    best_acc, since_best = epoch_acc, 0
                    best_model_wts = model.state_dict()
                else:
                    since_best += 1
        if since_best >= patience:
            break
    model.load_state_dict(best_model_wts)
    return model


def fit(model, optimizer, criterion, train_loader, val_loader, epochs):
    return train_model(model, criterion, optimizer, {"train": train_loader, "val": val_loader}, epochs, patience=5)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(360, 10))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "fit": fit, "epochs": 20,
            "train_loader": DataLoader(TensorDataset(x[:300], y[:300]), batch_size=30, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[300:450], y[300:450]), batch_size=75),
            "declared": {"patience": 5, "monitor": "val_accuracy", "mode": "max"}}

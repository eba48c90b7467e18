"""A trainer class with an ``EarlyStopping`` object; the evaluation before it gets the wrong loader.

Wrong: ``self.evaluate(self.loaders["train"])`` was left from debugging, so what is called ``val_loss`` is a training loss (in
evaluation mode, which makes it look plausible). The monitored quantity slipping: https://github.com/tensorflow/tensorflow/issues/55580.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.bad, self.state = patience, None, 0, None

    def __call__(self, value, model):
        if self.best is None or value < self.best - 1e-6:
            self.best, self.bad = value, 0
            self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        else:
            self.bad += 1
        return self.bad >= self.patience


class Trainer:
    def __init__(self, model, optimizer, loaders, patience=3):
        self.model, self.optimizer, self.loaders = model, optimizer, loaders
        self.stopper = EarlyStopping(patience)

    def train_epoch(self):
        self.model.train()
        for x, y in self.loaders["train"]:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        losses = [nn.functional.cross_entropy(self.model(x), y).item() for x, y in loader]
        return sum(losses) / len(losses)

    def run(self, epochs):
        for _ in range(epochs):
            self.train_epoch()
            val_loss = self.evaluate(self.loaders["train"])
            if self.stopper(val_loss, self.model):
                break
        self.model.load_state_dict(self.stopper.state)
        return self.model


def fit(model, optimizer, train_loader, val_loader, epochs):
    return Trainer(model, optimizer, {"train": train_loader, "val": val_loader}).run(epochs)


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 10))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:300], y[:300]), batch_size=30, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[300:500], y[300:500]), batch_size=100), fit=fit, epochs=25,
                declared={"patience": 3, "monitor": "val_loss", "mode": "min"})

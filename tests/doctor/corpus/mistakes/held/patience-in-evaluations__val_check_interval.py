"""A small trainer with ``val_check_interval=0.25`` and the patience of the paper, "8 epochs".

Wrong: the callback is called at every validation, four times per epoch, so the run ends after two epochs without progress.
https://github.com/ashleve/lightning-hydra-template/pull/195, https://github.com/keras-team/keras/issues/13239.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class StopTraining(Exception):
    pass


class EarlyStoppingCallback:
    def __init__(self, monitor="val_loss", patience=8):
        self.monitor, self.patience, self.wait = monitor, patience, 0
        self.best, self.best_weights = None, None

    def on_validation_end(self, metrics, model):
        value = metrics[self.monitor]
        if self.best is None or value < self.best:
            self.best, self.wait = value, 0
            self.best_weights = {k: v.clone() for k, v in model.state_dict().items()}
            return
        self.wait += 1
        if self.wait >= self.patience:
            raise StopTraining


class MiniTrainer:
    def __init__(self, max_epochs, val_check_interval, callback):
        self.max_epochs, self.val_check_interval, self.callback = max_epochs, val_check_interval, callback

    def validate(self, model, loader):
        model.eval()
        with torch.no_grad():
            loss = torch.stack([F.mse_loss(model(x), y) for x, y in loader]).mean().item()
        model.train()
        self.callback.on_validation_end({"val_loss": loss}, model)

    def fit(self, model, optimizer, train_loader, val_loader):
        every = max(1, int(len(train_loader) * self.val_check_interval))
        try:
            for _ in range(self.max_epochs):
                model.train()
                for i, (x, y) in enumerate(train_loader):
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()
                    if (i + 1) % every == 0:
                        self.validate(model, val_loader)
        except StopTraining:
            pass
        model.load_state_dict(self.callback.best_weights)
        return model


def fit(model, optimizer, train_loader, val_loader, epochs):
    return MiniTrainer(epochs, 0.25, EarlyStoppingCallback()).fit(model, optimizer, train_loader, val_loader)


def build():
    from sklearn.datasets import load_diabetes

    torch.manual_seed(0)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x * 21, dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), criterion=nn.MSELoss(), fit=fit,
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=20, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:], y[320:]), batch_size=61), epochs=25,
                declared={"patience": 8, "monitor": "val_loss", "mode": "min"})

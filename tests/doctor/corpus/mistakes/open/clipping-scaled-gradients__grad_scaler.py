"""Mixed precision with a gradient scaler, clipping without ``unscale_``.

Wrong: the gradients are 65536 times too large when they are clipped, so after unscaling their norm is 1/65536 of the bound.
https://github.com/pytorch/examples/issues/1196, https://github.com/Lightning-AI/pytorch-lightning/issues/9330.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MAX_NORM = 1.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))

    def forward(self, x):
        return self.net(x)


def make_train_step(scaler):
    def train_step(model, optimizer, batch, criterion):
        model.train()
        x, y = batch
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x)
        loss = criterion(logits.float(), y)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return train_step


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net()
    scaler = torch.amp.GradScaler("cpu")
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": make_train_step(scaler), "epochs": 15,
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80)}

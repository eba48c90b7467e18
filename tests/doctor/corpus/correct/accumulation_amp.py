"""Mixed precision, a gradient scaler, accumulation over four batches, unscale before clipping, L2 in each micro-batch divided too.

Near to: clipping-scaled-gradients, penalty-scaled-by-accumulation, gradients-not-cleared.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ACCUMULATE, L2 = 4, 1e-4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)


def penalty(model):
    return L2 * sum(p.square().sum() for p in model.parameters() if p.ndim > 1)


def make_train_step(scaler):
    def train_step(model, optimizer, batch, criterion, step):
        model.train()
        x, y = batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x)
        data_loss = criterion(logits.float(), y)
        scaler.scale((data_loss + penalty(model)) / ACCUMULATE).backward()
        if (step + 1) % ACCUMULATE == 0:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
        return data_loss.item()

    return train_step


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": make_train_step(torch.amp.GradScaler("cpu")), "epochs": 20,
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[512:640], y[512:640]), batch_size=64),
            "declared": {"l2": L2, "accumulation": ACCUMULATE}}

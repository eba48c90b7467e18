"""Gradient accumulation over four batches; the data loss is divided by four and the penalty is not.

Wrong: the penalty's gradient is added in every backward pass, so 4λ acts per optimizer step. Scaling under accumulation:
https://github.com/karpathy/nanoGPT/issues/168, https://github.com/mlfoundations/open_clip/issues/957.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ACCUMULATION = 4
L2 = 1e-3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 16, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def weight_norm(model):
    return sum(p.pow(2).sum() for p in model.parameters() if p.dim() > 1)


def train_step(model, optimizer, batch, criterion, step):
    model.train()
    x, y = batch
    data_loss = criterion(model(x), y)
    loss = data_loss / ACCUMULATION + L2 * weight_norm(model)
    loss.backward()
    if (step + 1) % ACCUMULATION == 0:
        optimizer.step()
        optimizer.zero_grad()
    return data_loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = Net()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "epochs": 15,
            "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[512:640], y[512:640]), batch_size=64),
            "declared": {"l2": L2, "accumulation": ACCUMULATION}}

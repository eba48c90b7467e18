"""An exponential moving average by hand that takes the buffers over from the live model.

Wrong: the running statistics of the live weights do not describe the activations of the averaged ones; early in training and with
a large rate the difference is large. https://github.com/huggingface/pytorch-image-models/issues/245 shows what it can do.
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ModelEma(nn.Module):
    def __init__(self, model, decay=0.98):
        super().__init__()
        self.module = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for e, p in zip(self.module.parameters(), model.parameters(), strict=True):
            e.lerp_(p, 1 - self.decay)
        for e, b in zip(self.module.buffers(), model.buffers(), strict=True):
            e.copy_(b)

    def forward(self, x):
        return self.module(x)


def conv_bn(i, o, stride=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


def train_step(model, optimizer, batch, criterion, averaged):
    model.train()
    inputs, target = batch
    loss = criterion(model(inputs), target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    averaged.update(model)
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(bunch.target)
    model = nn.Sequential(conv_bn(1, 16), conv_bn(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "criterion": nn.CrossEntropyLoss(label_smoothing=0.1), "averaged": ModelEma(model), "train_step": train_step,
            "epochs": 10, "train_loader": DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[512:640], y[512:640]), batch_size=64)}

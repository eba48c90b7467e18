"""A static loss scale by hand: scaled backward, clip, unscale, step.

Wrong: the two middle lines changed places, so the bound acts on gradients that are 1024 times too large. As in
https://github.com/catalyst-team/catalyst/issues/1319 and https://github.com/rwth-i6/returnn/issues/1590.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class StaticScaler:
    def __init__(self, scale=1024.0):
        self.value = scale

    def backward(self, loss):
        (loss * self.value).backward()

    def unscale_(self, parameters):
        for p in parameters:
            if p.grad is not None:
                p.grad.div_(self.value)


class Encoder(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.inp = nn.Linear(8, dim)
        self.attn = nn.MultiheadAttention(dim, 3, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, 10)

    def forward(self, x):
        h = self.inp(x)
        h = self.norm(h + self.attn(h, h, h, need_weights=False)[0])
        return self.out(h.mean(1))


class Step:
    def __init__(self, grad_clip=1.0):
        self.scaler, self.grad_clip = StaticScaler(), grad_clip

    def __call__(self, model, optimizer, batch, criterion):
        images, labels = batch
        model.train()
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        self.scaler.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), self.grad_clip)
        self.scaler.unscale_(model.parameters())
        optimizer.step()
        return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images / 16, dtype=torch.float32), torch.tensor(d.target)
    model, one_step = Encoder(), Step()

    def train_step(model, optimizer, batch, criterion):
        return one_step(model, optimizer, batch, criterion)

    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, epochs=15,
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:480], y[320:480]), batch_size=80))

"""A Lightning-like module that freezes the first stages of its encoder in ``__init__``.

Wrong: the trainer calls ``train()`` on the whole module before each epoch, and the frozen stages' batch norms start to track
again; the person thought they were fixed. https://github.com/pytorch/pytorch/issues/86590.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Stage(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.linear = nn.Linear(i, o, bias=False)
        self.bn = nn.BatchNorm1d(o, momentum=0.05)

    def forward(self, x):
        return F.leaky_relu(self.bn(self.linear(x)), 0.1)


class TransferModule(nn.Module):
    def __init__(self, pretrained, classes=2, frozen_stages=2, lr=1e-3):
        super().__init__()
        self.encoder, self.lr = pretrained, lr
        for stage in self.encoder[:frozen_stages]:
            stage.requires_grad_(False)
            stage.eval()
        self.classifier = nn.Linear(32, classes)

    def forward(self, x):
        return self.classifier(self.encoder(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam((p for p in self.parameters() if p.requires_grad), lr=self.lr)


def run_batch(model, optimizer, batch, step):
    model.train()
    loss = model.training_step(batch, step)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_breast_cancer

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    encoder = nn.Sequential(Stage(30, 32), Stage(32, 32), Stage(32, 32))
    with torch.no_grad():
        for rows in torch.randperm(300).split(60):
            encoder(x[rows])
    module = TransferModule(encoder)
    return dict(model=module, optimizer=module.configure_optimizers(), criterion=nn.CrossEntropyLoss(), train_step=run_batch,
                train_loader=DataLoader(TensorDataset(x[300:500], y[300:500]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[500:], y[500:]), batch_size=69), epochs=15)

"""SGD with a short cosine schedule and ``weight_decay=1e-6``.

Wrong: with 30 epochs of 8 steps and a rate that falls from 0.02, Σlr·λ is about 2e-6; the declared decay has no effect that
could be measured. The product of rate, decay and steps is what counts (Wang & Aitchison 2024; Andriushchenko et al. 2023).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HPARAMS = {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-6, "epochs": 30, "bs": 64}


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc(x.flatten(1))


def build(hp=None):
    from sklearn.datasets import load_digits

    hp = hp or HPARAMS
    torch.manual_seed(11)
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1).div(16)
    labels = torch.tensor(bunch.target)
    model = ConvNet()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD([dict(params=weights, weight_decay=hp["weight_decay"]), dict(params=biases, weight_decay=0.0)],
                                lr=hp["lr"], momentum=hp["momentum"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, hp["epochs"])
    return dict(model=model, optimizer=optimizer, scheduler=scheduler, criterion=nn.CrossEntropyLoss(), epochs=hp["epochs"],
                train_loader=DataLoader(TensorDataset(images[:512], labels[:512]), hp["bs"], shuffle=True),
                val_loader=DataLoader(TensorDataset(images[512:640], labels[512:640]), hp["bs"]),
                declared={"weight_decay": hp["weight_decay"]})

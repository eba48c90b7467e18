"""Adam, then soft-thresholding by lr·λ.

Wrong: the proximal step for Adam is scaled like its steps, lr/(√v+ε) per weight; with lr·λ the penalty is many times weaker where
gradients are small, and the fixed point is that of another problem (Melchior et al. 2019, proximal Adam; https://github.com/pyxu-org/pyxu/pull/42).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LR, LAMBDA = 2e-3, 5e-3


class LinearClassifier(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.fc = nn.Linear(features, classes)

    def forward(self, x):
        return self.fc(x)


@torch.no_grad()
def prox_l1(model, threshold):
    for name, w in model.named_parameters():
        if name.endswith("weight"):
            w.copy_(torch.sign(w) * torch.clamp(w.abs() - threshold, min=0.0))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    prox_l1(model, LR * LAMBDA)
    return loss.item()


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(600, 80, n_informative=8, n_redundant=0, n_classes=3, random_state=1)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = LinearClassifier(80, 3)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=LR), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:], y[480:]), batch_size=60), "train_step": train_step, "epochs": 40,
            "declared": {"l1": LAMBDA}}

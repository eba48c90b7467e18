"""A ConvNeXt-like network: LayerScale vectors and a temperature are decayed, by an Adam that couples the decay.

Wrong: the filter names "bias" and "norm" only; the per-channel gains ``gamma`` and the scalar ``temperature`` are one-dimensional
too and stay in the decayed group. Which parameters that concerns: https://github.com/majumderb/rezero/issues/14,
https://github.com/huggingface/pytorch-image-models/pull/2713. Adam's decay is coupled besides.
"""

EXPECTED = {"decay-on-norms-and-biases", "coupled-decay-under-adam"}

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dw = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm = nn.GroupNorm(1, dim)
        self.up, self.down = nn.Conv2d(dim, 4 * dim, 1), nn.Conv2d(4 * dim, dim, 1)
        self.gamma = nn.Parameter(torch.full((dim,), 0.1))

    def forward(self, x):
        h = self.down(nn.functional.gelu(self.up(self.norm(self.dw(x)))))
        return x + self.gamma[:, None, None] * h


class ConvNeXt(nn.Module):
    def __init__(self, dim=16, depth=2):
        super().__init__()
        self.stem = nn.Conv2d(1, dim, 2, stride=2)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(dim) for _ in range(depth)])
        self.head = nn.Linear(dim, 10)
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3))) * self.temperature


def param_groups_weight_decay(model, weight_decay):
    skip = ("bias", "norm")
    decay = [p for n, p in model.named_parameters() if not any(s in n for s in skip)]
    no_decay = [p for n, p in model.named_parameters() if any(s in n for s in skip)]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}]


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = ConvNeXt()
    return {"model": model, "optimizer": torch.optim.Adam(param_groups_weight_decay(model, 0.05), lr=4e-3),
            "criterion": nn.CrossEntropyLoss(), "epochs": 20,
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80)}

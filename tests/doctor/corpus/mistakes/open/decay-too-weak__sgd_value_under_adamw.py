"""AdamW with the weight decay that people use for SGD.

Wrong: the decay over the whole run is Σlr·λ = 1e-4 · 1e-5 · 240 steps, about 2e-7: weights are multiplied by 0.9999998. It is
written down in the paper as regularization and does nothing. Decoupled decay needs values near 0.01 to 0.1, and more at small
learning rates (Loshchilov & Hutter 2019, https://github.com/NVIDIA/apex/issues/1849).
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def parse_args(argv=()):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--weight-decay", type=float, default=1e-5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    return parser.parse_args(list(argv))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(30, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU())
        self.out = nn.Linear(128, 2)

    def forward(self, x):
        return self.out(self.body(x))


def param_groups(model, weight_decay):
    decay = [p for n, p in model.named_parameters() if n.endswith("weight")]
    plain = [p for n, p in model.named_parameters() if not n.endswith("weight")]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def build():
    from sklearn.datasets import load_breast_cancer

    args = parse_args()
    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    model = Net()
    optimizer = torch.optim.AdamW(param_groups(model, args.weight_decay), lr=args.lr)
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "epochs": args.epochs,
            "train_loader": DataLoader(TensorDataset(x[:384], y[:384]), args.batch_size, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[384:], y[384:]), args.batch_size),
            "declared": {"weight_decay": args.weight_decay}}

"""Accumulation over eight micro-batches; the penalty is computed once "to save time", and then divided with the loss.

Wrong: added in one of eight backward passes and divided by eight, the penalty acts with λ/8. Accumulation and what is divided:
https://github.com/Kai-46/minFM/pull/2, https://github.com/karpathy/nanoGPT/issues/206.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Args:
    gradient_accumulation_steps = 8
    per_device_batch_size = 8
    learning_rate = 0.1
    l1 = 2e-3
    num_train_epochs = 10


class Trainer:
    def __init__(self, args):
        self.args = args

    def compute_loss(self, model, inputs):
        features, labels = inputs
        return F.cross_entropy(model(features), labels)

    def regularizer(self, model):
        return self.args.l1 * sum(p.abs().sum() for p in model.parameters() if p.ndim == 2)

    def training_step(self, model, optimizer, batch, step):
        model.train()
        loss = self.compute_loss(model, batch)
        boundary = (step + 1) % self.args.gradient_accumulation_steps == 0
        total = loss + self.regularizer(model) if boundary else loss
        (total / self.args.gradient_accumulation_steps).backward()
        if boundary:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach().item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    args = Args()
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    trainer = Trainer(args)
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=args.learning_rate),
                criterion=nn.CrossEntropyLoss(), train_step=trainer.training_step, epochs=args.num_train_epochs,
                train_loader=DataLoader(TensorDataset(x[:512], y[:512]), args.per_device_batch_size, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[512:768], y[512:768]), 64),
                declared={"l1": args.l1, "accumulation": args.gradient_accumulation_steps})

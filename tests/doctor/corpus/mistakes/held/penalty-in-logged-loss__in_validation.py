"""One ``compute_loss`` with the penalty in it serves training, validation and the scheduler.

Wrong: the validation loss that is logged (and that chooses the epoch) contains λ Σw², so it falls while the weights shrink.
Asked in https://github.com/citoverse/cito/issues/43.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WEIGHT_PENALTY = 5e-3


def compute_loss(model, x, y):
    penalty = sum(p.square().sum() for n, p in model.named_parameters() if n.endswith("weight"))
    return F.cross_entropy(model(x), y) + WEIGHT_PENALTY * penalty


def train_step(model, optimizer, batch):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = compute_loss(model, x, y)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def validate(model, val_loader):
    was_training = model.training
    model.eval()
    losses = torch.tensor([compute_loss(model, x, y).item() for x, y in val_loader])
    model.train(was_training)
    return losses.mean().item()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 12, 5, stride=2)
        self.lin = nn.Linear(12 * 30, 10)

    def forward(self, x):
        return self.lin(F.relu(self.conv(x[:, None])).flatten(1))


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    model = Net()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, validate=validate, epochs=15, declared={"l2": WEIGHT_PENALTY, "monitor": "val_loss"},
                train_loader=DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[512:768], y[512:768]), batch_size=64))

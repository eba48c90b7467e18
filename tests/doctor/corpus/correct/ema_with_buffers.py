"""An exponential moving average of parameters and of the floating-point buffers.

Near to: averaged-weights-with-live-batch-norm. The averaged statistics belong to the averaged weights.
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset


def make_model():
    return nn.Sequential(nn.Linear(30, 48, bias=False), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48, bias=False),
                         nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 2))


def train_step(model, optimizer, batch, criterion, averaged):
    model.train()
    x, y = batch
    loss = criterion(model(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    averaged.update_parameters(model)
    return loss.item()


def validate(averaged, val_loader):
    averaged.eval()
    with torch.no_grad():
        hits = sum((averaged(x).argmax(1) == y).sum().item() for x, y in val_loader)
    return hits / len(val_loader.dataset)


def build():
    from sklearn.datasets import load_breast_cancer

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32), torch.tensor(y)
    model = make_model()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.97), use_buffers=True)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), criterion=nn.CrossEntropyLoss(),
                averaged=averaged, train_step=train_step, validate=validate, epochs=20,
                train_loader=DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[400:], y[400:]), batch_size=64))

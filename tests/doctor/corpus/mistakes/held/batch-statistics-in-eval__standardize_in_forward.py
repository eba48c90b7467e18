"""Inputs are standardized inside ``forward`` by the mean and deviation of the batch.

Wrong: there is no switch for evaluation, so a row is predicted differently in different company, and alone it becomes nan or
zero. The scaler belongs to the training data. Batch statistics at test time are discussed in
https://github.com/ashafahi/free_adv_train/issues/4.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class HousePriceModel(nn.Module):
    def __init__(self, n_features, hidden=(32, 16)):
        super().__init__()
        sizes = [n_features, *hidden]
        layers = []
        for i, o in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.price = nn.Linear(sizes[-1], 1)

    def normalize(self, x):
        return (x - x.mean(dim=0, keepdim=True)) / (x.std(dim=0, keepdim=True) + 1e-6)

    def forward(self, x):
        return self.price(self.trunk(self.normalize(x))).squeeze(-1)


def fit_one_batch(model, optimizer, batch, criterion):
    model.train()
    features, price = batch
    optimizer.zero_grad()
    loss = criterion(model(features), price)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(3)
    rooms = torch.randint(1, 8, (400, 1), generator=g).float()
    area = rooms * 22 + 12 * torch.randn(400, 1, generator=g)
    age = torch.rand(400, 1, generator=g) * 80
    x = torch.cat([rooms, area, age], 1)
    y = (area.squeeze(1) * 0.04 - age.squeeze(1) * 0.01) + 0.2 * torch.randn(400, generator=g)
    model = HousePriceModel(3)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), criterion=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(x[:320], y[:320]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[320:], y[320:]), batch_size=40), train_step=fit_one_batch, epochs=30)

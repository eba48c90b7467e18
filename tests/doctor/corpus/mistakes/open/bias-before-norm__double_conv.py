"""A U-Net whose double convolutions keep their bias in front of batch norm.

Wrong: batch norm subtracts the mean, and the bias with it: parameters without a gradient that still take optimizer state and
decay. Removed from Pytorch-UNet in https://github.com/milesial/Pytorch-UNet/pull/325.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class DoubleConv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.down1, self.down2 = DoubleConv(1, base), DoubleConv(base, 2 * base)
        self.up = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.merge = DoubleConv(2 * base, base)
        self.out = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(nn.functional.max_pool2d(a, 2))
        return self.out(self.merge(torch.cat([self.up(b), a], 1)))


class Discs(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
        centre = torch.rand(n, 2, 1, 1, generator=g) * 10 + 3
        self.mask = (((grid - centre) ** 2).sum(1, keepdim=True) < 9).float()
        self.image = self.mask + 0.4 * torch.randn(n, 1, 16, 16, generator=g)

    def __len__(self):
        return len(self.image)

    def __getitem__(self, i):
        return self.image[i], self.mask[i]


def train_step(model, optimizer, batch, criterion):
    model.train()
    optimizer.zero_grad(set_to_none=True)
    image, mask = batch
    loss = criterion(model(image), mask)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3), "criterion": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(Discs(64, 0), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Discs(32, 1), batch_size=16),
            "train_step": train_step, "epochs": 10}

"""A small U-Net with instance norm that has a bias where it is needed, dice and cross-entropy loss.

Near to: bias-before-norm, batch-statistics-in-eval (instance norm is per image).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Conv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.1))


class UNet(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.enc1, self.enc2 = Conv(1, base), Conv(base, 2 * base)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.dec = Conv(2 * base, base)
        self.drop = nn.Dropout2d(0.1)
        self.out = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        a = self.enc1(x)
        b = self.enc2(self.pool(a))
        return self.out(self.drop(self.dec(torch.cat([self.up(b), a], 1))))


class DiceBCE(nn.Module):
    def forward(self, logits, mask):
        p = logits.sigmoid().flatten(1)
        m = mask.flatten(1)
        dice = 1 - (2 * (p * m).sum(1) + 1) / (p.sum(1) + m.sum(1) + 1)
        return nn.functional.binary_cross_entropy_with_logits(logits, mask) + dice.mean()


class Discs(Dataset):
    def __init__(self, n, seed, augment=False):
        g = torch.Generator().manual_seed(seed)
        grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
        centre = torch.rand(n, 2, 1, 1, generator=g) * 10 + 3
        self.mask = (((grid - centre) ** 2).sum(1, keepdim=True) < 9).float()
        self.image = self.mask + 0.5 * torch.randn(n, 1, 16, 16, generator=g)
        self.augment = augment

    def __len__(self):
        return len(self.image)

    def __getitem__(self, i):
        image, mask = self.image[i], self.mask[i]
        if self.augment and torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return image, mask


def train_step(model, optimizer, batch, criterion):
    model.train()
    loss = criterion(model(batch[0]), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "criterion": DiceBCE(),
            "train_loader": DataLoader(Discs(64, 0, augment=True), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Discs(32, 1), batch_size=16), "train_step": train_step, "epochs": 8}

"""One table of images, two datasets over it: an augmented view for training and a plain one for validation, disjoint indices.

Near to: augmented-validation, overlapping-splits (the datasets share their tensors, not their rows).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset


class Images(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        return (self.transform(image) if self.transform else image), self.labels[i]


def augment(image):
    shift = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(image, shift, (-2, -1)) + 0.02 * torch.randn_like(image)


def standardize(images, mean, std):
    return (images - mean) / std


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    images, labels = torch.tensor(d.images, dtype=torch.float32)[:, None], torch.tensor(d.target)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(7)).tolist()
    train_rows, val_rows = order[:560], order[560:]
    mean, std = images[train_rows].mean(), images[train_rows].std()
    images = standardize(images, mean, std)
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(Subset(Images(images, labels, augment), train_rows), batch_size=56, shuffle=True),
                val_loader=DataLoader(Subset(Images(images, labels), val_rows), batch_size=70), train_step=train_step, epochs=12)

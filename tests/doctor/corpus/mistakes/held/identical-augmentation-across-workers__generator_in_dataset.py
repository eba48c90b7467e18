"""The modern numpy generator, made once in the dataset.

Wrong: the generator is copied into every worker with its state, so the first image of each worker gets the same shift and
noise, and at every epoch anew (the workers are started again). The trap with numpy generators:
https://github.com/pytorch/pytorch/issues/5059, https://github.com/wolny/pytorch-3dunet/issues/32.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class AugmentedDigits(Dataset):
    def __init__(self, images, labels, augment=False, seed=0):
        self.images, self.labels, self.augment = images, labels, augment
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return len(self.labels)

    def _augment(self, image):
        image = np.roll(image, self.rng.integers(-1, 2, size=2), axis=(0, 1))
        image = image * self.rng.uniform(0.8, 1.2) + self.rng.normal(0, 0.05, image.shape)
        return image

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            image = self._augment(image)
        return torch.as_tensor(image, dtype=torch.float32)[None], int(self.labels[i])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.fc = nn.Linear(24 * 16, 10)

    def forward(self, x):
        return self.fc(torch.relu(self.conv2(torch.relu(self.conv1(x)))).flatten(1))


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    bunch = load_digits()
    images, labels = bunch.images / 16, bunch.target
    model = Net()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
                criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(AugmentedDigits(images[:256], labels[:256], augment=True, seed=123), batch_size=32,
                                        shuffle=True, num_workers=2),
                val_loader=DataLoader(AugmentedDigits(images[256:384], labels[256:384]), batch_size=64), epochs=12)

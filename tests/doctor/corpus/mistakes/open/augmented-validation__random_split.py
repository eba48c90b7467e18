"""One augmented dataset, divided by ``random_split``.

Wrong: both subsets share the dataset and with it the random crop and flip, so the validation images change from epoch to epoch
and the score is that of distorted images. https://discuss.pytorch.org/t/data-transformation-for-training-and-validation-data/32507.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split


class RandomShift:
    def __init__(self, pixels):
        self.pixels = pixels

    def __call__(self, image):
        dx, dy = torch.randint(-self.pixels, self.pixels + 1, (2,)).tolist()
        return torch.roll(image, (dx, dy), dims=(-2, -1))


class RandomNoise:
    def __call__(self, image):
        return image + 0.1 * torch.randn_like(image)


class Compose:
    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, image):
        for step in self.steps:
            image = step(image)
        return image


class Digits(Dataset):
    def __init__(self, transform=None):
        from sklearn.datasets import load_digits

        bunch = load_digits()
        self.images = torch.tensor(bunch.images[:800] / 16, dtype=torch.float32).unsqueeze(1)
        self.labels = torch.tensor(bunch.target[:800])
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        return (self.transform(image) if self.transform else image), self.labels[index]


def build():
    torch.manual_seed(0)
    dataset = Digits(transform=Compose(RandomShift(1), RandomNoise()))
    train_set, val_set = random_split(dataset, [640, 160], generator=torch.Generator().manual_seed(42))
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train_set, batch_size=64, shuffle=True), "val_loader": DataLoader(val_set, batch_size=80),
            "epochs": 15}

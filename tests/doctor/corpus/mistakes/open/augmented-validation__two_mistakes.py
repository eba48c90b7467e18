"""A data module with two mistakes: the validation view is made with ``augment=True``, and the splits overlap.

Wrong: the default of the dataset class is the augmenting one and the validation set does not switch it off
(https://discuss.pytorch.org/t/data-transformation-for-training-and-validation-data/32507); the validation range begins 60 rows too
early (https://github.com/leenamurgai/debias-ml/pull/2).
"""

EXPECTED = {"augmented-validation", "overlapping-splits|duplicate-rows"}

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset


class NoisyDigits(Dataset):
    def __init__(self, augment=True):
        from sklearn.datasets import load_digits

        bunch = load_digits()
        self.x = torch.tensor(bunch.images / 16, dtype=torch.float32)
        self.y = torch.tensor(bunch.target)
        self.augment = augment

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        image = self.x[i]
        if self.augment:
            image = image + 0.05 * torch.randn_like(image)
            if torch.rand(()) < 0.5:
                row = int(torch.randint(0, 8, ()))
                image[row] = 0
        return image, self.y[i]


class DataModule:
    def __init__(self, batch_size=40):
        self.batch_size = batch_size
        self.train_range, self.val_range = range(0, 500), range(440, 640)

    def train_dataloader(self):
        return DataLoader(Subset(NoisyDigits(), self.train_range), self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(Subset(NoisyDigits(), self.val_range), self.batch_size)


def build():
    torch.manual_seed(0)
    data = DataModule()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": data.train_dataloader(), "val_loader": data.val_dataloader(), "epochs": 10}

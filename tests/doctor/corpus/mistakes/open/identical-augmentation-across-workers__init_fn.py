"""For reproducibility every worker seeds numpy with the same number.

Wrong: ``worker_init_fn`` ignores the worker's id, so all workers draw the same noise, and draw it again in every epoch:
https://github.com/open-mmlab/OpenPCDet/issues/886, https://github.com/xingyizhou/CenterNet/issues/233.
"""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SEED = 42


def worker_init_fn(worker_id):
    np.random.seed(SEED)
    random.seed(SEED)


class PointClouds(Dataset):
    """Points on a sphere or a cube, jittered and turned at random in training."""

    def __init__(self, n, train):
        rng = np.random.default_rng(0 if train else 1)
        self.label = rng.integers(0, 2, n)
        points = rng.normal(size=(n, 32, 3))
        sphere = points / np.linalg.norm(points, axis=2, keepdims=True)
        cube = points / np.abs(points).max(axis=2, keepdims=True)
        self.points = np.where(self.label[:, None, None] == 0, sphere, cube).astype("float32")
        self.train = train

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        cloud = self.points[i]
        if self.train:
            angle = np.random.uniform(0, 2 * np.pi)
            c, s = np.cos(angle), np.sin(angle)
            cloud = cloud @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype="float32")
            cloud = cloud + np.random.normal(0, 0.02, cloud.shape).astype("float32")
        return torch.from_numpy(np.ascontiguousarray(cloud)), int(self.label[i])


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.point = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU())
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.point(x).amax(1))


def build():
    torch.manual_seed(SEED)
    model = PointNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(PointClouds(128, True), batch_size=16, shuffle=True, num_workers=2,
                                       worker_init_fn=worker_init_fn),
            "val_loader": DataLoader(PointClouds(64, False), batch_size=32), "epochs": 10}

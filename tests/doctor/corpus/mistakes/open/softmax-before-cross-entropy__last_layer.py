"""A classifier that ends in ``nn.Softmax`` and is trained with ``nn.CrossEntropyLoss``.

Wrong: the loss takes a softmax itself; probabilities as logits leave it between 0.55 and 1.55 for three classes, with weak
gradients. https://github.com/jindongwang/Deep-learning-activity-recognition/issues/10.
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class ActivityNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(3, 16, 5), nn.ReLU(), nn.MaxPool1d(2))
        self.conv2 = nn.Sequential(nn.Conv1d(16, 24, 5), nn.ReLU(), nn.MaxPool1d(2))
        self.fc1 = nn.Sequential(nn.Linear(24 * 5, 32), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(32, 3), nn.Softmax(dim=1))

    def forward(self, x):
        out = self.conv2(self.conv1(x))
        return self.fc2(self.fc1(out.flatten(1)))


def train(model, optimizer, batch, criterion):
    sample, target = batch
    model.train()
    output = model(sample)
    loss = criterion(output, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (360,))
    time = torch.linspace(0, 4, 32)
    signal = torch.stack([torch.sin((target[:, None] + 1) * time + k) for k in range(3)], 1) + 0.3 * torch.randn(360, 3, 32)
    net = ActivityNet()
    return {"model": net, "optimizer": optim.SGD(net.parameters(), lr=0.01, momentum=0.9), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(signal[:288], target[:288]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(signal[288:], target[288:]), batch_size=36), "train_step": train, "epochs": 15}

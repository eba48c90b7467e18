"""Max-norm on the incoming weights of each unit, by an exact projection that leaves units inside the ball alone.

Near to: max-norm-axis, max-norm-shrinks-inside.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RADIUS = 1.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 16, 48)
        self.fc2 = nn.Linear(48, 10)
        self.dropout = nn.Dropout(0.4)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2).flatten(1)
        return self.fc2(self.dropout(torch.relu(self.fc1(x))))


@torch.no_grad()
def project_(model, radius=RADIUS):
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            norms = module.weight.flatten(1).norm(dim=1)
            outside = norms > radius
            if outside.any():
                scale = (radius / norms[outside]).view(-1, *[1] * (module.weight.dim() - 1))
                module.weight[outside] = module.weight[outside] * scale


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    project_(model)
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    model = Net()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5), criterion=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:480], y[:480]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80), train_step=train_step, epochs=15,
                declared={"max_norm": RADIUS})

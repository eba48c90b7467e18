"""``zero_grad`` once per epoch.

Wrong: it is called when the first batch of an epoch comes, so within the epoch each step uses the sum of all gradients so far.
Named as the second way to forget it in https://github.com/pytorch/pytorch/issues/47175.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCHES_PER_EPOCH = 10


class GraphConv(nn.Module):
    """Nodes on a ring: each sees its two neighbours."""

    def __init__(self, i, o):
        super().__init__()
        self.own, self.near = nn.Linear(i, o), nn.Linear(i, o, bias=False)

    def forward(self, h):
        return self.own(h) + self.near(0.5 * (h.roll(1, 1) + h.roll(-1, 1)))


class RingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.g1, self.g2 = GraphConv(2, 16), GraphConv(16, 16)
        self.read = nn.Linear(16, 2)

    def forward(self, nodes):
        h = F.relu(self.g2(F.relu(self.g1(nodes))))
        return self.read(h.amax(1))


class Fitter:
    def __init__(self, clip=5.0):
        self.clip = clip

    def train_step(self, model, optimizer, batch, step):
        if step % BATCHES_PER_EPOCH == 0:
            optimizer.zero_grad()
        model.train()
        nodes, label = batch
        loss = F.cross_entropy(model(nodes), label)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()
        return loss.item()


def build():
    torch.manual_seed(0)
    nodes = torch.randn(280, 9, 2)
    label = (nodes[..., 0].roll(1, 1) * nodes[..., 0]).amax(1).gt(1.5).long()
    model = RingNet()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05), criterion=nn.CrossEntropyLoss(),
                train_step=Fitter().train_step, epochs=15,
                train_loader=DataLoader(TensorDataset(nodes[:200], label[:200]), batch_size=20, shuffle=True),
                val_loader=DataLoader(TensorDataset(nodes[200:], label[200:]), batch_size=40))

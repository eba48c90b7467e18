"""Feature selection with λ Σ|w| added to the loss.

Wrong: gradient steps cross zero and come back; no weight becomes exactly zero, so nothing is selected. The question in the wild:
https://discuss.pytorch.org/t/l1-regularization-does-not-give-sparse-solution-in-neural-networks/67822.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class NeuralNet(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size[0], bias=False)
        self.hiddens = nn.ModuleList([nn.Linear(a, b) for a, b in zip(hidden_size[:-1], hidden_size[1:], strict=True)])
        self.output = nn.Linear(hidden_size[-1], output_size)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.input(x))
        for hidden in self.hiddens:
            x = self.relu(hidden(x))
        return self.output(x)


def train_step(model, optimizer, batch, criterion, lam=1e-3):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    l1 = sum(torch.norm(p, p=1) for name, p in model.named_parameters() if "weight" in name)
    (loss + lam * l1).backward()
    optimizer.step()
    return loss.item()


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(500, 40, n_informative=5, n_redundant=0, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = NeuralNet(40, [32, 16], 2)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "criterion": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:400], y[:400]), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50), "train_step": train_step, "epochs": 30,
            "declared": {"l1": 1e-3}}

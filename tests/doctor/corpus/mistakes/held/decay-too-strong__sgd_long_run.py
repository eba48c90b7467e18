"""SGD with ``weight_decay=0.05``, a value taken from an AdamW recipe.

Wrong: with lr 0.1 over 200 epochs of 10 steps Σlr·λ = 10; with momentum 0.9 the effective rate is ten times that. AdamW's 0.05
is meant with rates of 1e-3. The confusion of the two scales: https://github.com/pytorch/pytorch/pull/4429.
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class Experiment:
    lr = 0.1
    weight_decay = 0.05
    epochs = 200

    def __init__(self):
        from sklearn.datasets import load_digits

        torch.manual_seed(2)
        d = load_digits()
        x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
        self.train = DataLoader(TensorDataset(x[:500], y[:500]), batch_size=50, shuffle=True)
        self.val = DataLoader(TensorDataset(x[500:700], y[500:700]), batch_size=100)
        self.model = MLP([64, 64, 10])

    def optimizer(self):
        w = [p for n, p in self.model.named_parameters() if "bias" not in n]
        b = [p for n, p in self.model.named_parameters() if "bias" in n]
        return optim.SGD([{"params": w, "weight_decay": self.weight_decay}, {"params": b}], lr=self.lr, momentum=0.9)


def build():
    run = Experiment()
    return dict(model=run.model, optimizer=run.optimizer(), criterion=nn.CrossEntropyLoss(), train_loader=run.train,
                val_loader=run.val, epochs=run.epochs, declared={"weight_decay": run.weight_decay})

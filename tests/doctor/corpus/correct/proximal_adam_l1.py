"""L1 under an adaptive optimizer with the threshold in the optimizer's own scale, lr·λ/(√v̂+ε) per weight.

Near to: l1-threshold-after-adam.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LAMBDA = 2e-3


class SparseLinear(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.fc = nn.Linear(features, classes)

    def forward(self, x):
        return self.fc(x)


@torch.no_grad()
def prox_(optimizer, parameters, strength):
    """Soft-thresholding in the metric of the last Adam step."""
    chosen = {id(p) for p in parameters}
    for group in optimizer.param_groups:
        beta2 = group["betas"][1]
        for p in group["params"]:
            if id(p) not in chosen:
                continue
            state = optimizer.state[p]
            scale = (state["exp_avg_sq"] / (1 - beta2 ** float(state["step"]))).sqrt() + group["eps"]
            threshold = group["lr"] * strength / scale
            p.copy_(p.sign() * (p.abs() - threshold).clamp(min=0))


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    prox_(optimizer, [model.fc.weight], LAMBDA)
    return loss.item()


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(500, 50, n_informative=6, n_redundant=0, random_state=4)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = SparseLinear(50, 2)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, train_loader=DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50), epochs=30, declared={"l1": LAMBDA})

"""Strong decay on linear layers whose output goes straight into a norm.

Wrong: the output does not change when these matrices are scaled (the norm has its own gain), so the decay bounds nothing; it
only sets the effective learning rate (van Laarhoven 2017; Zhang et al. 2019). Question in the wild:
https://discuss.pytorch.org/t/weight-decay-in-the-optimizers-is-a-bad-idea-especially-with-batchnorm/16994.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class NormedLayer(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.project = nn.Linear(n_in, n_out, bias=False)
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x):
        return torch.nn.functional.gelu(self.norm(self.project(x)))


class TabularNet(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.first = NormedLayer(features, 48)
        self.second = NormedLayer(48, 48)
        self.logits = nn.Linear(48, classes)

    def forward(self, x):
        return self.logits(self.second(self.first(x)))


def groups(model, weight_decay):
    norm_params = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    decay = [p for n, p in model.named_parameters() if id(p) not in norm_params and not n.endswith("bias")]
    free = [p for n, p in model.named_parameters() if id(p) in norm_params or n.endswith("bias")]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def build():
    from sklearn.datasets import make_classification

    torch.manual_seed(0)
    x, y = make_classification(700, 20, n_informative=8, n_classes=3, random_state=3)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    model = TabularNet(20, 3)
    return dict(model=model, optimizer=torch.optim.SGD(groups(model, 5e-3), lr=0.05, momentum=0.9),
                criterion=nn.CrossEntropyLoss(), epochs=50, declared={"weight_decay": 5e-3},
                train_loader=DataLoader(TensorDataset(x[:512], y[:512]), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[512:], y[512:]), batch_size=94))

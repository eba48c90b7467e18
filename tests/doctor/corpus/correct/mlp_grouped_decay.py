"""An MLP under AdamW with decay on matrices only, chosen by module type.

Near to: decay-on-norms-and-biases, decay-too-weak.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MLP(nn.Module):
    def __init__(self, features, width=64, classes=2, p=0.2):
        super().__init__()
        self.fc1, self.n1 = nn.Linear(features, width), nn.LayerNorm(width)
        self.fc2, self.n2 = nn.Linear(width, width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(p)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.dropout(torch.relu(self.n1(self.fc1(x))))
        x = self.dropout(torch.relu(self.n2(self.fc2(x))))
        return self.head(x)


def parameter_groups(model, weight_decay):
    decay, keep = [], []
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            (decay if isinstance(module, nn.Linear) and name == "weight" else keep).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": keep, "weight_decay": 0.0}]


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, y = batch
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def validate(model, val_loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
    model.train()
    return hits / len(val_loader.dataset)


def build():
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    torch.manual_seed(0)
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x_train)

    def dataset(a, b):
        return TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b))

    model = MLP(30)
    return {"model": model, "optimizer": torch.optim.AdamW(parameter_groups(model, 0.05), lr=3e-3),
            "criterion": nn.CrossEntropyLoss(), "train_step": train_step, "validate": validate, "epochs": 40,
            "train_loader": DataLoader(dataset(x_train, y_train), batch_size=32, shuffle=True),
            "val_loader": DataLoader(dataset(x_val, y_val), batch_size=64)}

"""An autoencoder whose decoder is the transpose of its encoder, with an explicit L2 penalty that counts the weight once.

Near to: tied-weights-counted-twice, penalty-doubled, penalty-in-logged-loss.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

L2 = 1e-4


class TiedAutoencoder(nn.Module):
    def __init__(self, inputs=64, code=24):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(code, inputs))
        nn.init.xavier_uniform_(self.weight)
        self.code_bias, self.output_bias = nn.Parameter(torch.zeros(code)), nn.Parameter(torch.zeros(inputs))

    def forward(self, x):
        code = torch.relu(F.linear(x, self.weight, self.code_bias))
        return F.linear(code, self.weight.t(), self.output_bias)


def train_step(model, optimizer, batch, criterion):
    model.train()
    x, target = batch
    optimizer.zero_grad()
    reconstruction = criterion(model(x), target)
    penalty = L2 * model.weight.square().sum()
    (reconstruction + penalty).backward()
    optimizer.step()
    return reconstruction.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    model = TiedAutoencoder()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), criterion=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(x[:512], x[:512]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[512:768], x[512:768]), batch_size=64), train_step=train_step, epochs=15,
                declared={"l2": L2})

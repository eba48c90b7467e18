"""An encoder with a bidirectional GRU whose depth and dropout come from a configuration.

Wrong: two directions are one layer; ``enc_layers: 1`` with ``dropout: 0.3`` drops nothing. The options next to each other:
https://github.com/wjko2/Domain-Agnostic-Sentence-Specificity-Prediction/issues/13.
"""

import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {"enc_dim": 20, "enc_layers": 1, "dropout": 0.3, "lr": 2e-3, "batch_size": 32, "epochs": 12}


class SeriesEncoder(nn.Module):
    def __init__(self, channels, config):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.rnn = nn.GRU(channels, config["enc_dim"], num_layers=config["enc_layers"], bidirectional=True,
                              dropout=config["dropout"], batch_first=True)

    def forward(self, x):
        states, _ = self.rnn(x)
        return states.mean(1)


class Forecaster(nn.Module):
    def __init__(self, channels=2, config=None):
        super().__init__()
        config = config or CONFIG
        self.encoder = SeriesEncoder(channels, config)
        self.regressor = nn.Linear(2 * config["enc_dim"], 1)

    def forward(self, x):
        return self.regressor(self.encoder(x))[:, 0]


def windows(n, seed):
    g = torch.Generator().manual_seed(seed)
    walk = torch.cumsum(0.3 * torch.randn(n, 21, 2, generator=g), 1)
    return TensorDataset(walk[:, :20], walk[:, 20, 0])


def build():
    torch.manual_seed(0)
    model = Forecaster()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=CONFIG["lr"]), criterion=nn.SmoothL1Loss(),
                train_loader=DataLoader(windows(256, 0), batch_size=CONFIG["batch_size"], shuffle=True),
                val_loader=DataLoader(windows(96, 1), batch_size=CONFIG["batch_size"]), epochs=CONFIG["epochs"])

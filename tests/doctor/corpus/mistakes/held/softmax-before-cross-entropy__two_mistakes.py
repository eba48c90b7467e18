"""A token classifier with two mistakes: probabilities go into the cross entropy, and a functional dropout never stops.

Wrong: softmax in ``forward`` before ``CrossEntropyLoss`` (https://github.com/nishnik/Deep-Semantic-Similarity-Model-PyTorch/issues/2)
and ``F.dropout`` without ``training`` (https://github.com/delip/PyTorchNLPBook/issues/28).
"""

EXPECTED = {"softmax-before-cross-entropy", "dropout-active-in-eval"}

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SurnameClassifier(nn.Module):
    def __init__(self, characters=27, classes=4, channels=24):
        super().__init__()
        self.embedding = nn.Embedding(characters, 16, padding_idx=0)
        self.convnet = nn.Sequential(nn.Conv1d(16, channels, 3), nn.ELU(), nn.Conv1d(channels, channels, 3), nn.ELU())
        self.fc = nn.Linear(channels, classes)

    def forward(self, x_surname):
        features = self.convnet(self.embedding(x_surname).transpose(1, 2)).mean(dim=2)
        prediction_vector = self.fc(F.dropout(features, p=0.3))
        return F.softmax(prediction_vector, dim=1)


def train_step(model, optimizer, batch, criterion):
    model.train()
    optimizer.zero_grad()
    y_pred = model(batch[0])
    loss = criterion(y_pred, batch[1])
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    names = torch.randint(1, 27, (320, 9))
    nation = names[:, -1] % 4
    model = SurnameClassifier()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), criterion=nn.CrossEntropyLoss(),
                train_step=train_step, train_loader=DataLoader(TensorDataset(names[:256], nation[:256]), 32, shuffle=True),
                val_loader=DataLoader(TensorDataset(names[256:], nation[256:]), 64), epochs=15)

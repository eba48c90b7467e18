"""A transformer encoder whose AdamW decays every parameter alike.

Wrong: the LayerNorm gains and all biases are pulled to zero together with the matrices; they hold no capacity to be
penalized, and a gain near zero switches a feature off. Seen in https://github.com/dingo-actual/om/issues/12 and
https://github.com/huggingface/transformers/issues/4360.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, LENGTH, CLASSES = 60, 12, 4


class TextClassifier(nn.Module):
    def __init__(self, dim=32, heads=4, depth=2, dropout=0.1):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, dim)
        self.positions = nn.Parameter(torch.randn(1, LENGTH, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, CLASSES)

    def forward(self, ids):
        h = self.encoder(self.tokens(ids) + self.positions)
        return self.head(self.norm(h).mean(1))


def train_step(model, optimizer, batch, criterion):
    model.train()
    ids, labels = batch
    optimizer.zero_grad()
    loss = criterion(model(ids), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    ids = torch.randint(0, VOCAB, (320, LENGTH))
    labels = (ids < 15).sum(1).clamp(max=CLASSES - 1)
    train = DataLoader(TensorDataset(ids[:256], labels[:256]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(ids[256:], labels[256:]), batch_size=64)
    model = TextClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "train_loader": train, "val_loader": val,
            "train_step": train_step, "epochs": 40}

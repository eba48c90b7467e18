"""An explicit L2 penalty that walks the modules of a model with tied embeddings.

Wrong: the tied matrix belongs to two modules and is penalized with twice the strength that is declared (λ Σw²). The concern about
regularization of tied weights: https://github.com/karpathy/nanoGPT/pull/21.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class TiedLM(nn.Module):
    def __init__(self, vocab=28, dim=20):
        super().__init__()
        self.encoder = nn.Embedding(vocab, dim)
        self.mixer = nn.Sequential(nn.Conv1d(dim, dim, 3), nn.GELU(), nn.Conv1d(dim, dim, 1))
        self.decoder = nn.Linear(dim, vocab)
        self.decoder.weight = self.encoder.weight
        nn.init.normal_(self.encoder.weight, std=0.1)

    def forward(self, ids):
        h = self.encoder(ids).transpose(1, 2)
        h = self.mixer(F.pad(h, (2, 0)))
        return self.decoder(h.transpose(1, 2))


class LMTrainer:
    def __init__(self, l2=5e-4):
        self.l2 = l2

    def loss(self, model, ids, targets):
        logits = model(ids)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def penalty(self, model):
        return sum(m.weight.square().sum() for m in model.modules() if hasattr(m, "weight"))

    def __call__(self, model, optimizer, batch):
        model.train()
        optimizer.zero_grad()
        loss = self.loss(model, *batch)
        (loss + self.l2 * self.penalty(model)).backward()
        optimizer.step()
        return loss.item()


def build():
    torch.manual_seed(0)
    steps = torch.where(torch.rand(180, 11) < 0.5, 3, 5)
    stream = (torch.randint(0, 28, (180, 1)) + steps.cumsum(1)) % 28
    data = TensorDataset(stream[:, :-1].contiguous(), stream[:, 1:].contiguous())
    trainer = LMTrainer()

    def train_step(model, optimizer, batch):
        return trainer(model, optimizer, batch)

    model = TiedLM()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9),
                criterion=lambda logits, y: F.cross_entropy(logits.flatten(0, 1), y.flatten()), train_step=train_step, epochs=20,
                declared={"l2": trainer.l2}, train_loader=DataLoader(torch.utils.data.Subset(data, range(140)), 20, shuffle=True),
                val_loader=DataLoader(torch.utils.data.Subset(data, range(140, 180)), 20))

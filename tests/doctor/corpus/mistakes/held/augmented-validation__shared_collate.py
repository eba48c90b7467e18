"""Token dropout in a collate function that both loaders use.

Wrong: ``make_loader`` builds the validation loader with the same collate function, so words are masked at random in validation
too. The general rule: https://discuss.pytorch.org/t/data-transformation-for-training-and-validation-data/32507.
"""

from functools import partial

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

MASK, PAD = 1, 0


class Sentences(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            length = int(torch.randint(5, 12, (1,), generator=g))
            ids = torch.randint(2, 40, (length,), generator=g)
            self.items.append((ids, int((ids > 20).float().mean() > 0.5)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(samples, word_dropout):
    ids = nn.utils.rnn.pad_sequence([s[0] for s in samples], batch_first=True, padding_value=PAD)
    drop = (torch.rand(ids.shape) < word_dropout) & (ids != PAD)
    return ids.masked_fill(drop, MASK), torch.tensor([s[1] for s in samples])


def make_loader(dataset, shuffle):
    return DataLoader(dataset, batch_size=25, shuffle=shuffle, collate_fn=partial(collate, word_dropout=0.2))


class BagOfWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(40, 16, mode="mean", padding_idx=PAD)
        self.classifier = nn.Linear(16, 2)

    def forward(self, ids):
        return self.classifier(self.embedding(ids))


def build():
    torch.manual_seed(0)
    model = BagOfWords()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), criterion=nn.CrossEntropyLoss(),
                train_loader=make_loader(Sentences(300, 0), shuffle=True), val_loader=make_loader(Sentences(100, 1), shuffle=False),
                epochs=20)

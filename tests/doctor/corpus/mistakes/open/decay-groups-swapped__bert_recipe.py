"""The no-decay recipe of BERT fine-tuning with the condition the wrong way round.

Wrong: ``any`` and ``not any`` changed places, so the matrices are free and only biases and LayerNorm gains decay. The recipe is
that of https://github.com/huggingface/transformers/issues/492.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SelfAttentionBlock(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.attention = nn.MultiheadAttention(hidden, 2, dropout=0.1, batch_first=True)
        self.LayerNorm1 = nn.LayerNorm(hidden)
        self.dense = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
        self.LayerNorm2 = nn.LayerNorm(hidden)

    def forward(self, h):
        a, _ = self.attention(h, h, h, need_weights=False)
        h = self.LayerNorm1(h + a)
        return self.LayerNorm2(h + self.dense(h))


class TinyBert(nn.Module):
    def __init__(self, vocab=50, hidden=24, labels=3):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(SelfAttentionBlock(hidden) for _ in range(2))
        self.classifier = nn.Linear(hidden, labels)

    def forward(self, input_ids):
        h = self.embeddings(input_ids)
        for layer in self.layers:
            h = layer(h)
        return self.classifier(h[:, 0])


def get_optimizer(model, learning_rate=5e-4, weight_decay=0.05):
    no_decay = ["bias", "LayerNorm1.weight", "LayerNorm2.weight"]
    grouped = [
        {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "weight_decay": weight_decay},
        {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(grouped, lr=learning_rate)


def build():
    torch.manual_seed(3)
    ids = torch.randint(0, 50, (256, 10))
    labels = ids[:, 0] % 3
    loader = DataLoader(TensorDataset(ids[:192], labels[:192]), batch_size=16, shuffle=True)
    dev = DataLoader(TensorDataset(ids[192:], labels[192:]), batch_size=32)
    model = TinyBert()
    return {"model": model, "optimizer": get_optimizer(model), "criterion": nn.CrossEntropyLoss(), "train_loader": loader,
            "val_loader": dev, "epochs": 50}

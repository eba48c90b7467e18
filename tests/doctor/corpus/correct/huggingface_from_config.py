"""A Hugging Face model built from a small configuration, with dict batches and the usual two groups.

Near to: decay-on-norms-and-biases, decay-groups-swapped. Needs transformers.
"""

NEEDS = "transformers"

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Texts(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.ids = [torch.randint(5, 60, (int(torch.randint(6, 12, (1,), generator=g)),), generator=g) for _ in range(n)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "labels": int(self.ids[i][0] > 32)}


def collate(features):
    ids = nn.utils.rnn.pad_sequence([f["input_ids"] for f in features], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": torch.tensor([f["labels"] for f in features])}


def train_step(model, optimizer, batch):
    model.train()
    outputs = model(**batch)
    optimizer.zero_grad()
    outputs.loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return outputs.loss.item()


@torch.no_grad()
def validate(model, val_loader):
    model.eval()
    losses = [model(**batch).loss.item() for batch in val_loader]
    model.train()
    return sum(losses) / len(losses)


def build():
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                        max_position_embeddings=16, num_labels=2)
    model = BertForSequenceClassification(config)
    no_decay = ("bias", "LayerNorm.weight")
    groups = [
        {"params": [p for n, p in model.named_parameters() if not n.endswith(no_decay)], "weight_decay": 0.05},
        {"params": [p for n, p in model.named_parameters() if n.endswith(no_decay)], "weight_decay": 0.0},
    ]
    return {"model": model, "optimizer": torch.optim.AdamW(groups, lr=2e-3), "train_step": train_step, "validate": validate,
            "train_loader": DataLoader(Texts(160, 0), batch_size=16, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(Texts(48, 1), batch_size=24, collate_fn=collate), "epochs": 60}

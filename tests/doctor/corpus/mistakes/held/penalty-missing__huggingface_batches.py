"""Fine-tuning on dict batches, with parameter groups whose decay has the name of another library's option.

Wrong: ``weight_decay`` is passed under the name of another optimizer's option: SGD keeps unknown group keys, so the group has
``wd`` and its ``weight_decay`` stays 0; the declared 0.01 acts nowhere. Options that take no effect:
https://github.com/awslabs/graphstorm/issues/1366 (clipping),
https://github.com/pytorch/torchtitan/pull/2600 (groups by configuration).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Examples(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.ids = [torch.randint(3, 40, (int(torch.randint(4, 10, (1,), generator=g)),), generator=g) for _ in range(n)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "labels": int(self.ids[i].float().mean() > 21)}


def collator(features):
    ids = nn.utils.rnn.pad_sequence([f["input_ids"] for f in features], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": torch.tensor([f["labels"] for f in features])}


class Model(nn.Module):
    def __init__(self, vocab=40, dim=20):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.dense = nn.Linear(dim, dim)
        self.classifier = nn.Linear(dim, 2)

    def forward(self, input_ids, attention_mask, labels=None):
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (self.embeddings(input_ids) * mask).sum(1) / mask.sum(1)
        logits = self.classifier(torch.tanh(self.dense(pooled)))
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = F.cross_entropy(logits, labels)
        return out


def create_optimizer(model, lr, weight_decay):
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.SGD([{"params": matrices, "wd": weight_decay}, {"params": vectors, "wd": 0.0}], lr=lr, momentum=0.9)


def train_step(model, optimizer, batch):
    model.train()
    loss = model(**batch)["loss"]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def build():
    torch.manual_seed(0)
    model = Model()
    return dict(model=model, optimizer=create_optimizer(model, 0.1, 0.01), train_step=train_step, epochs=15,
                train_loader=DataLoader(Examples(240, 0), batch_size=24, shuffle=True, collate_fn=collator),
                val_loader=DataLoader(Examples(80, 1), batch_size=40, collate_fn=collator), declared={"weight_decay": 0.01})

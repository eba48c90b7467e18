"""A transformer encoder with attention dropout that is switched by ``self.training``, and functional dropout done right.

Near to: dropout-active-in-eval, decay-on-norms-and-biases.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Attention(nn.Module):
    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads, self.dropout = heads, dropout

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return F.dropout(self.proj(h.transpose(1, 2).reshape(b, t, d)), self.dropout, training=self.training)


class Layer(nn.Module):
    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(dim), Attention(dim, heads, dropout)
        self.ln2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class RowTransformer(nn.Module):
    def __init__(self, dim=32, depth=2, heads=4, dropout=0.1, classes=10):
        super().__init__()
        self.embed = nn.Linear(8, dim)
        self.position = nn.Parameter(torch.randn(8, dim) * 0.02)
        self.layers = nn.ModuleList(Layer(dim, heads, dropout) for _ in range(depth))
        self.ln = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, rows):
        h = self.embed(rows) + self.position
        for layer in self.layers:
            h = layer(h)
        return self.head(self.ln(h).mean(1))


def train_step(model, optimizer, batch, criterion, scheduler):
    model.train()
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(model(batch[0]), batch[1])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss.item()


def build():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.images / 16, dtype=torch.float32), torch.tensor(d.target)
    model = RowTransformer()
    skip = {"position"}
    decay = [p for n, p in model.named_parameters() if p.ndim >= 2 and n not in skip]
    free = [p for n, p in model.named_parameters() if p.ndim < 2 or n in skip]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}], lr=2e-3)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    return {"model": model, "optimizer": optimizer, "scheduler": warmup, "criterion": nn.CrossEntropyLoss(),
            "train_step": train_step,
            "train_loader": DataLoader(TensorDataset(x[:480], y[:480]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[480:640], y[480:640]), batch_size=80), "epochs": 60}

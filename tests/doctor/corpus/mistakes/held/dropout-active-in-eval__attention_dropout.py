"""Self-attention by ``scaled_dot_product_attention`` with a fixed ``dropout_p``.

Wrong: the kernel knows nothing of ``eval()``; ``dropout_p`` must be 0 outside training. Fixed in
https://github.com/colehurwitz/IBL_MtM_model/pull/13.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head, dropout):
        super().__init__()
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.resid_dropout = nn.Dropout(dropout)
        self.n_head, self.dropout = n_head, dropout

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.n_head, c // self.n_head).transpose(1, 2) for z in self.c_attn(x).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(b, t, c)))


class GPT(nn.Module):
    def __init__(self, vocab=30, n_embd=32, n_layer=2, n_head=4, block=16, dropout=0.1):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, n_embd), nn.Embedding(block, n_embd)
        self.drop = nn.Dropout(dropout)
        self.ln = nn.ModuleList(nn.LayerNorm(n_embd) for _ in range(2 * n_layer))
        self.attn = nn.ModuleList(CausalSelfAttention(n_embd, n_head, dropout) for _ in range(n_layer))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd),
                                               nn.Dropout(dropout)) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab, bias=False)

    def forward(self, idx):
        x = self.drop(self.wte(idx) + self.wpe(torch.arange(idx.size(1))))
        for i, (attn, mlp) in enumerate(zip(self.attn, self.mlp, strict=True)):
            x = x + attn(self.ln[2 * i](x))
            x = x + mlp(self.ln[2 * i + 1](x))
        return self.lm_head(self.ln_f(x))


def criterion(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def build():
    torch.manual_seed(1337)
    stream = torch.cumsum(torch.randint(1, 4, (160, 17)), 1) % 30
    model = GPT()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    nodecay = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": nodecay, "weight_decay": 0.0}], lr=1e-3,
                                  betas=(0.9, 0.95))
    data = TensorDataset(stream[:, :-1], stream[:, 1:])
    return dict(model=model, optimizer=optimizer, criterion=criterion, epochs=60,
                train_loader=DataLoader(torch.utils.data.Subset(data, range(128)), batch_size=16, shuffle=True),
                val_loader=DataLoader(torch.utils.data.Subset(data, range(128, 160)), batch_size=16))

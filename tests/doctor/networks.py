"""Correct set-ups of many kinds, from which tests make wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

Parts = dict[str, Any]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(n: int, k: int, seed: int = 1) -> Tensor:
    return torch.randint(0, k, (n,), generator=torch.Generator().manual_seed(seed))


def loader(x: Tensor, y: Tensor, *, train: bool = True, batch_size: int = 32, **more: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(x, y), batch_size, shuffle=train, drop_last=train, **more)


def groups(model: nn.Module, decay: float = 0.01) -> list[Parts]:
    """Decay on what has two axes or more."""
    return [{"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": decay},
            {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]


def adamw(model: nn.Module, decay: float = 0.05, rate: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups(model, decay), lr=rate)


def whole(model: nn.Module, x: Tensor, y: Tensor, criterion: Any, **more: Any) -> Parts:
    """Model, optimizer, loaders over the first and the last rows, criterion and epochs."""
    cut = len(x) * 3 // 4
    return {"model": model, "optimizer": adamw(model), "criterion": criterion, "train_loader": loader(x[:cut], y[:cut]),
            "val_loader": loader(x[cut:], y[cut:], train=False), "epochs": 40, **more}


def mlp() -> Parts:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))
    return whole(model, numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss(label_smoothing=0.1))


def normed_mlp() -> Parts:
    model = nn.Sequential(nn.Linear(10, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32, bias=False),
                          nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))
    return whole(model, numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def resnet() -> Parts:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Block(8), Block(8),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    parts = whole(model, numbers(160, 3, 12, 12), classes(160, 5), nn.CrossEntropyLoss())
    optimizer = torch.optim.SGD(groups(model, 5e-4), lr=0.1, momentum=0.9, nesterov=True)
    return parts | {"optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)}


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(30, 12), nn.LSTM(12, 16, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(self.embedding(x))
        return self.head(out[:, -1])


def tokens(n: int, length: int, vocabulary: int = 30) -> Tensor:
    return torch.randint(0, vocabulary, (n, length), generator=torch.Generator().manual_seed(4))


def lstm() -> Parts:
    return whole(Lstm(), tokens(320, 14), classes(320, 2), nn.CrossEntropyLoss())


class Transformer(nn.Module):
    """A causal language model with tied embeddings, whose axes are (time, batch) if ``time_first``."""

    def __init__(self, time_first: bool = False):
        super().__init__()
        self.embedding, self.position = nn.Embedding(30, 16), nn.Parameter(0.02 * numbers(1, 14, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=not time_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.embedding.weight
        self.time_first = time_first

    def forward(self, x: Tensor) -> Tensor:
        position = self.position.transpose(0, 1) if self.time_first else self.position
        length = x.shape[0] if self.time_first else x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        return self.head(self.encoder(self.embedding(x) + position, mask=mask))


def _flat(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def transformer() -> Parts:
    x = tokens(200, 15)
    return whole(Transformer(), x[:, :-1].clone(), x[:, 1:].clone(), _flat)


def _time_first(rows: list[Any]) -> tuple[Tensor, Tensor]:
    return torch.stack([x for x, _ in rows], 1), torch.stack([y for _, y in rows], 1)


def time_first_transformer() -> Parts:
    x = tokens(200, 15)
    rows = [(r[:-1].clone(), r[1:].clone()) for r in x]
    model = Transformer(time_first=True)
    return {"model": model, "optimizer": adamw(model), "criterion": _flat, "epochs": 40,
            "train_loader": DataLoader(rows[:160], 16, collate_fn=_time_first, shuffle=True),
            "val_loader": DataLoader(rows[160:], 16, collate_fn=_time_first)}


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.GroupNorm(2, 8), nn.ReLU())
        self.low = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        return self.out(torch.cat([high, self.up(self.low(high))], 1))


def unet() -> Parts:
    return whole(UNet(), numbers(64, 1, 16, 16), classes(64 * 256, 2).view(64, 16, 16), nn.CrossEntropyLoss(), epochs=100)


class Autoencoder(nn.Module):
    """A variational autoencoder, which samples in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(10, 8), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return self.decoder(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


def _elbo(outputs: Any, targets: Tensor) -> Tensor:
    made, mean, log_variance = outputs
    return F.mse_loss(made, targets) + 0.01 * (mean.square() + log_variance.exp() - log_variance - 1).mean()


def autoencoder() -> Parts:
    x = numbers(320, 10)
    return whole(Autoencoder(), x, x, _elbo)


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


class PretrainedLike(nn.Module):
    """Keywords in, an output object with loss and logits out, as Hugging Face's models."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.LayerNorm = nn.Embedding(30, 16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.classifier = nn.Linear(16, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None) -> Output:
        x = self.LayerNorm(self.embedding(input_ids))
        ignored = None if attention_mask is None else attention_mask == 0
        x = x + self.attention(x, x, x, key_padding_mask=ignored, need_weights=False)[0]
        logits = self.classifier(x.mean(1))
        return Output(logits, None if labels is None else F.cross_entropy(logits, labels))


def pretrained_like() -> Parts:
    x, y = tokens(200, 14), classes(200, 2)
    rows = [{"input_ids": a, "attention_mask": torch.ones(14, dtype=torch.long), "labels": b} for a, b in zip(x, y)]
    model = PretrainedLike()

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        return loss.detach()
    return {"model": model, "optimizer": adamw(model), "train_loader": DataLoader(rows[:160], 16, shuffle=True),
            "val_loader": DataLoader(rows[160:], 16), "epochs": 40, "train_step": train_step}


class LightningLike(nn.Module):
    """The methods of a LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = adamw(self)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 10)}}

    def train_dataloader(self) -> Any:
        return loader(numbers(240, 10), classes(240, 3))

    def val_dataloader(self) -> Any:
        return loader(numbers(80, 10, seed=9), classes(80, 3), train=False)


def lightning_like() -> Parts:
    return {"model": LightningLike(), "epochs": 40}


class FrozenBackbone(nn.Module):
    """Only the head learns, and the backbone's norms stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU()).requires_grad_(False)
        self.head = nn.Linear(16, 3)

    def train(self, mode: bool = True) -> FrozenBackbone:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def frozen_backbone() -> Parts:
    model = FrozenBackbone()
    parts = whole(model, numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())
    return parts | {"optimizer": adamw(model.head)}


def averaged() -> Parts:
    parts = normed_mlp()
    kept = torch.optim.swa_utils.AveragedModel(parts["model"])

    def finalize(averaged: nn.Module, train_loader: Any) -> None:
        torch.optim.swa_utils.update_bn(train_loader, averaged)
    return parts | {"averaged": kept, "finalize": finalize}


CORRECT: dict[str, Callable[[], Parts]] = {
    f.__name__: f for f in (mlp, normed_mlp, resnet, lstm, transformer, time_first_transformer, unet, autoencoder, pretrained_like,
                            lightning_like, frozen_backbone, averaged)}

"""Each check on a mistake that it must see, and on a near miss that it must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

import wellfit as wf
from doctor.networks import (
    FrozenBackbone,
    Lstm,
    Parts,
    Transformer,
    adamw,
    averaged,
    classes,
    groups,
    loader,
    lstm,
    mlp,
    normed_mlp,
    numbers,
    resnet,
    time_first_transformer,
    tokens,
    transformer,
    whole,
)
from wellfit.doctor.finding import Finding

MISTAKES: list[tuple[str, str, Callable[[], Parts]]] = []  # id, severity, set-up
NEAR: list[tuple[str, Callable[[], Parts]]] = []


def mistake(id: str, severity: str) -> Callable[[Callable[[], Parts]], Callable[[], Parts]]:
    def keep(make: Callable[[], Parts]) -> Callable[[], Parts]:
        MISTAKES.append((id, severity, make))
        return make
    return keep


def near(id: str) -> Callable[[Callable[[], Parts]], Callable[[], Parts]]:
    def keep(make: Callable[[], Parts]) -> Callable[[], Parts]:
        NEAR.append((id, make))
        return make
    return keep


def found(parts: Parts, id: str) -> list[Finding]:
    report = wf.check(parts, only=[id])
    assert not [f for f in report if f.id == "could-not-examine"], str(report)
    return [f for f in report if f.id == id]


# ---------------------------------------------------------------------------------------------------- decay


@mistake("decay-on-norms-and-biases", "warning")
def everything_decayed() -> Parts:
    parts = normed_mlp()
    return parts | {"optimizer": torch.optim.AdamW(parts["model"].parameters(), weight_decay=0.05)}


class OwnNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * F.layer_norm(x, x.shape[-1:])


@mistake("decay-on-norms-and-biases", "warning")
def a_norm_of_ones_own_decayed() -> Parts:
    parts = mlp()
    model = nn.Sequential(nn.Linear(10, 16, bias=False), OwnNorm(16), nn.Linear(16, 3, bias=False))
    return parts | {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), weight_decay=0.05)}


@near("decay-on-norms-and-biases")
def weights_named_like_norms() -> Parts:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_bias = nn.Linear(10, 3, bias=False)  # a weight all the same

        def forward(self, x: Tensor) -> Tensor:
            return self.norm_bias(x)
    model = Net()
    return mlp() | {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), weight_decay=0.05)}


def _swapped(model: nn.Module) -> torch.optim.Optimizer:
    first, second = groups(model)
    return torch.optim.AdamW([first | {"weight_decay": 0.0}, second | {"weight_decay": 0.05}])


@mistake("decay-groups-swapped", "error")
def swapped() -> Parts:
    parts = normed_mlp()
    return parts | {"optimizer": _swapped(parts["model"])}


@near("decay-groups-swapped")
def decayed_alike() -> Parts:
    return everything_decayed()


def test_swapped_groups_are_said_once() -> None:
    assert not found(swapped(), "decay-on-norms-and-biases")


@mistake("coupled-decay-under-adam", "warning")
def adam_with_decay() -> Parts:
    parts = mlp()
    return parts | {"optimizer": torch.optim.Adam(groups(parts["model"], 1e-3))}


@mistake("coupled-decay-under-adam", "warning")
def rmsprop_with_decay() -> Parts:
    parts = mlp()
    return parts | {"optimizer": torch.optim.RMSprop(groups(parts["model"], 1e-4))}


class OwnAdam(torch.optim.Adam):
    """Under another name."""


@mistake("coupled-decay-under-adam", "warning")
def an_adam_of_ones_own() -> Parts:
    parts = mlp()
    return parts | {"optimizer": OwnAdam(groups(parts["model"], 1e-3))}


@mistake("coupled-decay-under-adam", "warning")
def rectified_adam() -> Parts:
    parts = mlp()
    return parts | {"optimizer": torch.optim.RAdam(groups(parts["model"], 1e-3))}


@near("coupled-decay-under-adam")
def decoupled_rectified_adam() -> Parts:
    parts = mlp()
    return parts | {"optimizer": torch.optim.RAdam(groups(parts["model"], 1e-3), decoupled_weight_decay=True)}


@near("coupled-decay-under-adam")
def decoupled_adam() -> Parts:
    parts = mlp()
    return parts | {"optimizer": torch.optim.Adam(groups(parts["model"], 1e-3), decoupled_weight_decay=True)}


@near("coupled-decay-under-adam")
def sgd_with_decay() -> Parts:
    return resnet()


@mistake("decay-too-weak", "warning")
def hardly_any_decay() -> Parts:
    parts = mlp()
    return parts | {"optimizer": adamw(parts["model"], decay=1e-6)}


@near("decay-too-weak")
def small_decay_with_momentum() -> Parts:
    return resnet()


@mistake("decay-too-strong", "warning")
def decay_beats_the_gradient() -> Parts:
    parts = mlp()
    return parts | {"optimizer": torch.optim.SGD(groups(parts["model"], 1.0), lr=0.1, momentum=0.9)}


@mistake("decay-too-strong", "warning")
def adamw_forgets_at_once() -> Parts:
    parts = mlp()
    return parts | {"optimizer": adamw(parts["model"], decay=20.0, rate=1e-2)}


@near("decay-too-strong")
def firm_decay() -> Parts:
    parts = mlp()
    return parts | {"optimizer": adamw(parts["model"], decay=1.0, rate=3e-3)}


# ----------------------------------------------------------------------------------------------- parameters


@mistake("parameter-not-optimized", "warning")
def a_layer_forgotten() -> Parts:
    parts = mlp()
    return parts | {"optimizer": adamw(parts["model"][0])}


@mistake("parameter-not-optimized", "error")
def a_head_replaced_too_late() -> Parts:
    parts = mlp()
    parts["model"][3] = nn.Linear(32, 3)
    return parts


class Unregistered(nn.Module):
    """Its second layer lies in a dict that nn.Module does not look into."""

    def __init__(self, *, used: bool = True) -> None:
        super().__init__()
        self.first, self.last, self.used = nn.Linear(6, 8), nn.Linear(8, 3), used
        self.rest = {"middle": [nn.Linear(8, 8)]}

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        return self.last(self.rest["middle"][0](h).relu() if self.used else h)


@mistake("parameter-not-optimized", "warning")
def a_layer_in_a_plain_container() -> Parts:
    model = Unregistered()
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    return {"model": model, "optimizer": adamw(model), "train_loader": DataLoader(TensorDataset(x, x[:, 0].gt(0).long()), 8)}


@near("parameter-not-optimized")
def a_layer_in_a_plain_container_in_a_group_of_its_own() -> Parts:
    parts = a_layer_in_a_plain_container()
    parts["optimizer"].add_param_group({"params": list(parts["model"].rest["middle"][0].parameters())})
    return parts


@near("parameter-not-optimized")
def a_layer_in_a_plain_container_that_is_not_used() -> Parts:
    model = Unregistered(used=False)
    return a_layer_in_a_plain_container() | {"model": model, "optimizer": adamw(model)}


@near("parameter-not-optimized")
def a_layer_in_a_plain_container_that_another_optimizer_trains() -> Parts:
    parts = a_layer_in_a_plain_container()
    other = torch.optim.SGD(parts["model"].rest["middle"][0].parameters(), lr=0.1)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        model.zero_grad()
        other.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        other.step()
        return loss.item()
    return parts | {"train_step": train_step, "criterion": nn.CrossEntropyLoss()}


@near("parameter-not-optimized")
def frozen_on_purpose() -> Parts:
    parts = mlp()
    parts["model"][0].requires_grad_(False)
    return parts | {"optimizer": adamw(parts["model"][3])}


def _tied(penalized: Callable[[nn.Module], Any]) -> Parts:
    parts = transformer()

    def train_step(model: nn.Module, optimizer: Any, batch: Any, criterion: Any) -> Tensor:
        optimizer.zero_grad()
        loss = criterion(model(batch[0]), batch[1]) + 1e-3 * sum(p.square().sum() for p in penalized(model))
        loss.backward()
        optimizer.step()
        return loss.detach()
    return parts | {"train_step": train_step}


@mistake("tied-weights-counted-twice", "error")
def penalty_over_names() -> Parts:
    return _tied(lambda model: [p for _, p in model.named_parameters(remove_duplicate=False) if p.ndim == 2])


@near("tied-weights-counted-twice")
def penalty_over_parameters() -> Parts:
    return _tied(lambda model: [p for p in model.parameters() if p.ndim == 2])


@mistake("tied-weights-counted-twice", "error")
def listed_twice() -> Parts:
    parts = transformer()
    listed = [p for m in parts["model"].modules() for p in m.parameters(recurse=False)]
    return parts | {"optimizer": torch.optim.SGD(listed, lr=0.1)}


@near("tied-weights-counted-twice")
def tied_and_listed_once() -> Parts:
    return transformer()


# ----------------------------------------------------------------------------------------------- invariance


@mistake("penalty-on-scale-invariant-weights", "warning")
def l1_before_norms() -> Parts:
    return normed_mlp() | {"declared": {"l1": 1e-4}}


@mistake("penalty-on-scale-invariant-weights", "note")
def decay_before_norms() -> Parts:
    return normed_mlp()


@near("penalty-on-scale-invariant-weights")
def l1_without_norms() -> Parts:
    return mlp() | {"declared": {"l1": 1e-4}}


@mistake("bias-before-norm", "note")
def bias_and_norm() -> Parts:
    model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    return whole(model, numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


@near("bias-before-norm")
def bias_and_layer_norm() -> Parts:
    model = nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
    return whole(model, numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


@near("bias-before-norm")
def a_relu_between() -> Parts:
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 3))
    return whole(model, numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


# -------------------------------------------------------------------------------------------------- dropout


def _net(*layers: nn.Module) -> Parts:
    return whole(nn.Sequential(*layers), numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


@mistake("dropout-before-batch-norm", "warning")
def dropout_then_norm() -> Parts:
    return _net(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))


@near("dropout-before-batch-norm")
def dropout_behind_the_last_norm() -> Parts:
    return normed_mlp()


@near("dropout-before-batch-norm")
def dropout_before_layer_norm() -> Parts:
    return _net(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.3), nn.LayerNorm(32), nn.Linear(32, 3))


class Live(nn.Module):
    def __init__(self, drop: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.one, self.two, self.drop = nn.Linear(10, 16), nn.Linear(16, 3), drop

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.drop(self, self.one(x).relu()))


def _live(drop: Callable[[nn.Module, Tensor], Tensor]) -> Parts:
    return whole(Live(drop), numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


@mistake("dropout-active-in-eval", "error")
def functional_dropout() -> Parts:
    return _live(lambda module, x: F.dropout(x, 0.3))


@mistake("dropout-active-in-eval", "warning")
def a_mask_of_ones_own() -> Parts:
    return _live(lambda module, x: x * (torch.rand_like(x) > 0.3))


@near("dropout-active-in-eval")
def functional_dropout_in_training() -> Parts:
    return _live(lambda module, x: F.dropout(x, 0.3, training=module.training))


class Attention(nn.Module):
    def __init__(self, always: bool):
        super().__init__()
        self.into, self.out, self.always = nn.Linear(4, 24), nn.Linear(8, 3), always

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.into(x).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v, dropout_p=0.2 if self.always or self.training else 0.0).mean(1))


@mistake("dropout-active-in-eval", "error")
def attention_dropout() -> Parts:
    return whole(Attention(True), numbers(320, 6, 4), classes(320, 3), nn.CrossEntropyLoss())


@near("dropout-active-in-eval")
def attention_dropout_in_training() -> Parts:
    return whole(Attention(False), numbers(320, 6, 4), classes(320, 3), nn.CrossEntropyLoss())


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.drops = nn.Linear(10, 3), [nn.Dropout(0.4)]

    def forward(self, x: Tensor) -> Tensor:
        return self.drops[0](self.one(x))


@mistake("dropout-active-in-eval", "error")
def dropout_in_a_plain_list() -> Parts:
    return whole(Listed(), numbers(320, 10), classes(320, 3), nn.CrossEntropyLoss())


@mistake("single-layer-lstm-dropout", "error")
def one_layer() -> Parts:
    parts, model = lstm(), Lstm()
    model.lstm = nn.LSTM(12, 16, dropout=0.2, batch_first=True)
    return parts | {"model": model, "optimizer": adamw(model)}


@near("single-layer-lstm-dropout")
def two_layers() -> Parts:
    return lstm()


# ----------------------------------------------------------------------------------------------- evaluation


@mistake("batch-statistics-in-eval", "error")
def no_running_statistics() -> Parts:
    return _net(nn.Linear(10, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.ReLU(), nn.Linear(16, 3))


@mistake("batch-statistics-in-eval", "warning")
def a_mean_over_the_batch() -> Parts:
    return _live(lambda module, x: x - x.mean(0))


@near("batch-statistics-in-eval")
def attention_over_the_first_axis() -> Parts:
    return time_first_transformer()


@near("batch-statistics-in-eval")
def instance_norm() -> Parts:
    model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.InstanceNorm1d(8), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
                          nn.Linear(8, 3))
    return whole(model, numbers(320, 4, 12), classes(320, 3), nn.CrossEntropyLoss())


# ----------------------------------------------------------------------------------------------------- data


class Augmented(torch.utils.data.Dataset[Any]):
    """Noise on each read, from torch's generator or from one of its own."""

    def __init__(self, x: Tensor, y: Tensor, own: bool = False, noise: float = 0.1):
        self.x, self.y, self.noise = x, y, noise
        self.generator = np.random.default_rng(0) if own else None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        drawn = torch.randn(self.x.shape[1]) if self.generator is None else torch.as_tensor(
            self.generator.standard_normal(self.x.shape[1])).float()
        return self.x[index] + self.noise * drawn, self.y[index]


def _augmented(own: bool = False, **options: Any) -> Parts:
    data = Augmented(numbers(320, 10), classes(320, 3), own)
    return mlp() | {"train_loader": DataLoader(Subset(data, range(240)), 32, drop_last=True, **options)}


@mistake("augmented-validation", "error")
def subsets_share_a_transform() -> Parts:
    parts = _augmented()
    return parts | {"val_loader": DataLoader(Subset(parts["train_loader"].dataset.dataset, range(240, 320)), 32)}


@mistake("augmented-validation", "error")
def augmented_while_collating() -> Parts:
    def collate(rows: list[Any]) -> Any:
        x, y = torch.stack([r[0] for r in rows]), torch.stack([r[1] for r in rows])
        return x + 0.1 * torch.randn_like(x), y
    parts = mlp()
    return parts | {"val_loader": DataLoader(parts["val_loader"].dataset, 32, collate_fn=collate)}


@near("augmented-validation")
def augmented_training_only() -> Parts:
    return _augmented()


@near("augmented-validation")
def shuffled_validation() -> Parts:
    parts = mlp()
    return parts | {"val_loader": DataLoader(parts["val_loader"].dataset, 32, shuffle=True)}


@mistake("overlapping-splits", "error")
def shared_indices() -> Parts:
    data = TensorDataset(numbers(320, 10), classes(320, 3))
    return mlp() | {"train_loader": DataLoader(Subset(data, range(260)), 32, drop_last=True),
                    "val_loader": DataLoader(Subset(data, range(240, 320)), 32)}


@mistake("overlapping-splits", "error")
def nearly_equal_rows() -> Parts:
    parts = mlp()
    x, _ = parts["train_loader"].dataset.tensors
    return parts | {"val_loader": loader(torch.cat([x[:20] + 1e-6, numbers(60, 10, seed=5)]), classes(80, 3), train=False)}


@mistake("overlapping-splits", "error")
def overlap_behind_augmentation() -> Parts:
    x, y = numbers(320, 10), classes(320, 3)
    return mlp() | {"train_loader": DataLoader(Augmented(x[:260].clone(), y[:260]), 32, drop_last=True),
                    "val_loader": loader(x[240:].clone(), y[240:], train=False)}


@near("overlapping-splits")
def subsets_side_by_side() -> Parts:
    data = TensorDataset(numbers(320, 10), classes(320, 3))
    return mlp() | {"train_loader": DataLoader(Subset(data, range(240)), 32, drop_last=True),
                    "val_loader": DataLoader(Subset(data, range(240, 320)), 32)}


def _coarse(n: int, seed: int) -> Tensor:
    return torch.randint(0, 3, (n, 4), generator=torch.Generator().manual_seed(seed)).float()


@near("overlapping-splits")
def few_values_meet_by_chance() -> Parts:
    model = nn.Sequential(nn.Linear(4, 3))
    return mlp() | {"model": model, "optimizer": adamw(model), "train_loader": loader(_coarse(240, 1), classes(240, 3)),
                    "val_loader": loader(_coarse(80, 2), classes(80, 3), train=False)}


@mistake("duplicate-rows", "warning")
def rows_twice() -> Parts:
    x, y = numbers(200, 10), classes(200, 3)
    return mlp() | {"train_loader": loader(torch.cat([x, x[:40]]), torch.cat([y, y[:40]]))}


@near("duplicate-rows")
def sampled_with_replacement() -> Parts:
    data = TensorDataset(numbers(240, 10), classes(240, 3))
    sampler = torch.utils.data.WeightedRandomSampler([1.0] * 240, 240)
    return mlp() | {"train_loader": DataLoader(data, 32, sampler=sampler, drop_last=True)}


@near("duplicate-rows")
def few_values_repeat() -> Parts:
    return few_values_meet_by_chance()


@mistake("identical-augmentation-across-workers", "error")
def one_generator_for_all_workers() -> Parts:
    return _augmented(own=True, num_workers=2)


def _seed_alike(worker: int) -> None:
    torch.manual_seed(7)


@mistake("identical-augmentation-across-workers", "error")
def workers_seeded_alike() -> Parts:
    return _augmented(num_workers=2, worker_init_fn=_seed_alike)


def _seed_by_worker(worker: int) -> None:
    info = torch.utils.data.get_worker_info()
    info.dataset.dataset.generator = np.random.default_rng(info.seed)


@near("identical-augmentation-across-workers")
def workers_seeded_anew() -> Parts:
    return _augmented(own=True, num_workers=2, worker_init_fn=_seed_by_worker)


@near("identical-augmentation-across-workers")
def torch_seeds_workers() -> Parts:
    return _augmented(num_workers=2)


@mistake("last-batch-of-one", "error")
def one_row_left() -> Parts:
    data = TensorDataset(numbers(225, 10), classes(225, 3))
    return normed_mlp() | {"train_loader": DataLoader(data, 32, shuffle=True)}


@near("last-batch-of-one")
def one_row_dropped() -> Parts:
    data = TensorDataset(numbers(225, 10), classes(225, 3))
    return normed_mlp() | {"train_loader": DataLoader(data, 32, shuffle=True, drop_last=True)}


@near("last-batch-of-one")
def one_row_without_norms() -> Parts:
    data = TensorDataset(numbers(225, 10), classes(225, 3))
    return mlp() | {"train_loader": DataLoader(data, 32, shuffle=True)}


# --------------------------------------------------------------------------------------------------- targets


def _soft(y: Tensor, by: float, k: int = 3) -> Tensor:
    return F.one_hot(y, k).float() * (1 - by) + by / k


@mistake("targets-softened-twice", "warning")
def soft_targets_and_smoothing() -> Parts:
    return mlp() | {"train_loader": loader(numbers(240, 10), _soft(classes(240, 3), 0.1))}


@mistake("targets-softened-twice", "warning")
def softened_in_the_step() -> Parts:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), _soft(batch[1], 0.1), label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return loss.detach()
    return mlp() | {"train_step": train_step}


@near("targets-softened-twice")
def soft_targets_alone() -> Parts:
    return mlp() | {"train_loader": loader(numbers(240, 10), _soft(classes(240, 3), 0.1)), "criterion": nn.CrossEntropyLoss()}


@near("targets-softened-twice")
def mixed_targets_and_smoothing() -> Parts:
    model = nn.Linear(10, 5)
    mixed = 0.7 * F.one_hot(classes(240, 5), 5) + 0.3 * F.one_hot(classes(240, 5, seed=6), 5)
    return mlp() | {"model": model, "optimizer": adamw(model), "train_loader": loader(numbers(240, 10), mixed)}


@mistake("softmax-before-cross-entropy", "error")
def softmax_at_the_end() -> Parts:
    return _net(nn.Linear(10, 3), nn.Softmax(1))


@mistake("softmax-before-cross-entropy", "error")
def sigmoid_at_the_end() -> Parts:
    model = nn.Sequential(nn.Linear(10, 1), nn.Sigmoid())
    return whole(model, numbers(320, 10), classes(320, 2).float()[:, None], nn.BCEWithLogitsLoss())


@near("softmax-before-cross-entropy")
def log_softmax_and_nll() -> Parts:
    return _net(nn.Linear(10, 3), nn.LogSoftmax(1)) | {"criterion": nn.NLLLoss()}


@near("softmax-before-cross-entropy")
def sigmoid_and_plain_cross_entropy() -> Parts:
    return sigmoid_at_the_end() | {"criterion": nn.BCELoss()}


# ------------------------------------------------------------------------------------- freezing and averaging


@mistake("frozen-norms-update", "warning")
def frozen_but_in_train_mode() -> Parts:
    parts = normed_mlp()
    parts["model"][:3].requires_grad_(False)
    return parts | {"optimizer": adamw(parts["model"][3:])}


@near("frozen-norms-update")
def frozen_and_in_eval_mode() -> Parts:
    model = FrozenBackbone()
    return mlp() | {"model": model, "optimizer": adamw(model.head)}


@mistake("averaged-weights-with-live-batch-norm", "warning")
def statistics_never_recomputed() -> Parts:
    parts = averaged()
    del parts["finalize"]
    return parts


class Ema(nn.Module):
    """Averages the weights and leaves the buffers as they were in the beginning."""

    def __init__(self, model: nn.Module):
        super().__init__()
        import copy

        self.module = copy.deepcopy(model)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters()):
            mine.lerp_(theirs, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


@mistake("averaged-weights-with-live-batch-norm", "warning")
def statistics_of_the_beginning() -> Parts:
    parts = normed_mlp()
    return parts | {"averaged": Ema(parts["model"])}


@near("averaged-weights-with-live-batch-norm")
def statistics_recomputed() -> Parts:
    return averaged()


@near("averaged-weights-with-live-batch-norm")
def statistics_averaged_too() -> Parts:
    parts = normed_mlp()
    return parts | {"averaged": torch.optim.swa_utils.AveragedModel(parts["model"], use_buffers=True,
                                                                    multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))}


# --------------------------------------------------------------------------------------------------- signals


@mistake("inputs-not-normalized", "note")
def columns_of_all_sizes() -> Parts:
    return mlp() | {"train_loader": loader(numbers(240, 10) * torch.logspace(-2, 3, 10), classes(240, 3))}


@near("inputs-not-normalized")
def a_norm_comes_first() -> Parts:
    return _net(nn.BatchNorm1d(10), nn.Linear(10, 3)) | {
        "train_loader": loader(numbers(240, 10) * torch.logspace(-2, 3, 10), classes(240, 3))}


@mistake("dead-units", "note")
def a_layer_that_never_fires() -> Parts:
    parts = mlp()
    nn.init.constant_(parts["model"][0].bias, -100.0)
    return parts


@near("dead-units")
def units_that_fire() -> Parts:
    return mlp()


def _name(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("id", "severity", "make"), MISTAKES, ids=_name)
def test_a_mistake_is_found(id: str, severity: str, make: Callable[[], Parts]) -> None:
    seen = found(make(), id)
    assert len(seen) == 1, seen
    assert seen[0].severity == severity, seen
    assert any(c.isdigit() for c in seen[0].measured) or id in ("parameter-not-optimized",)
    assert seen[0].fix and seen[0].where and seen[0].source


@pytest.mark.parametrize(("id", "make"), NEAR, ids=_name)
def test_a_near_miss_is_not(id: str, make: Callable[[], Parts]) -> None:
    assert not found(make(), id)


def test_every_check_of_the_core_has_a_mistake_and_a_near_miss() -> None:
    from wellfit.doctor.registry import registered

    core = {c.id for c in registered().values() if not c.look.__module__.rpartition(".")[2].startswith("loop")}
    assert core == {id for id, *_ in MISTAKES} == {id for id, *_ in NEAR}


def test_a_transformer_of_ones_own_is_left_alone() -> None:
    assert not [f for f in wf.check(Transformer()) if f.severity != "note"]


def test_batches_prepared_in_the_training_step() -> None:
    """What the model is given there is what it is probed with."""
    parts = dropout_then_norm()

    def train_step(model: nn.Module, optimizer: Any, batch: Any, criterion: Any) -> Tensor:
        optimizer.zero_grad()
        loss = criterion(model(batch[0].flatten(1).float()), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()
    images = loader(numbers(240, 2, 5).double(), classes(240, 3))
    assert found(parts | {"train_loader": images, "train_step": train_step, "val_loader": None}, "dropout-before-batch-norm")


class Contrast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(10, 8), nn.Linear(6, 8)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.normalize(self.one(x)) @ F.normalize(self.two(y)).T


def test_a_network_that_compares_rows_is_no_mistake() -> None:
    model = Contrast()
    data = TensorDataset(numbers(320, 10), numbers(320, 6, seed=2), torch.arange(320))
    parts = {"model": model, "optimizer": adamw(model), "train_loader": DataLoader(data, 32, drop_last=True)}
    assert wf.check(parts).ok


def test_a_loader_that_can_be_read_once_is_left_alone() -> None:
    given = iter(mlp()["train_loader"])
    report = wf.check(mlp() | {"train_loader": given, "val_loader": None})
    assert "read only once" in report.skipped["duplicate-rows"]
    assert len(next(given)[0]) == 32


def test_generators_of_a_data_set_stay() -> None:
    parts = one_generator_for_all_workers()
    generator = parts["train_loader"].dataset.dataset.generator
    before = generator.bit_generator.state
    wf.check(parts)
    assert generator.bit_generator.state == before


def test_wrapped_networks_are_examined_inside() -> None:
    parts = functional_dropout()
    wrapped = nn.DataParallel(parts["model"])
    assert found(parts | {"model": wrapped}, "dropout-active-in-eval")


def test_few_possible_rows_are_no_leak() -> None:
    """Rows drawn from a hundred sequences repeat within and across splits; that is worth a note."""
    kinds = tokens(100, 12)
    drawn = torch.randint(0, 100, (320,), generator=torch.Generator().manual_seed(2))
    parts = lstm() | {"train_loader": loader(kinds[drawn[:240]], classes(240, 2)),
                      "val_loader": loader(kinds[drawn[240:]], classes(80, 2), train=False)}
    for id in ("overlapping-splits", "duplicate-rows"):
        assert {f.severity for f in found(parts, id)} == {"note"}


def test_tokens_copied_into_validation_are_a_leak() -> None:
    x = tokens(320, 12)
    x[240:260] = x[:20]
    parts = lstm() | {"train_loader": loader(x[:240].clone(), classes(240, 2)),
                      "val_loader": loader(x[240:].clone(), classes(80, 2), train=False)}
    assert [f.severity for f in found(parts, "overlapping-splits")] == ["error"]


def test_codes_among_the_inputs_stay_codes() -> None:
    """Probes change batches only to values that a model has seen."""
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(4, 3), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat([x[:, :2], self.embedding(x[:, 2].long())], 1))
    model = Mixed()
    x = torch.cat([numbers(320, 2), torch.randint(0, 4, (320, 1), generator=torch.Generator().manual_seed(0))], 1)
    assert wf.check(whole(model, x, classes(320, 3), nn.CrossEntropyLoss())).ok


def test_a_fit_that_recomputes_statistics() -> None:
    """Seen by running it on a few batches, when there is no finalize."""
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, criterion: Any, averaged: Any, epochs: int) -> nn.Module:
        for _ in range(epochs):
            for x, y in train_loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
                averaged.update_parameters(model)
        torch.optim.swa_utils.update_bn(train_loader, averaged)
        return averaged

    def forgetful(model: nn.Module, optimizer: Any, train_loader: Any, averaged: Any, epochs: int) -> nn.Module:
        for x, _ in train_loader:
            model(x)
            averaged.update_parameters(model)
        return averaged
    parts = averaged()
    del parts["finalize"]
    assert not found(parts | {"fit": fit}, "averaged-weights-with-live-batch-norm")
    assert found(parts | {"fit": forgetful}, "averaged-weights-with-live-batch-norm")

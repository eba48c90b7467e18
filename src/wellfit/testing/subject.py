"""What the checks are run on, and the samples they use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.core.batches import maps_batches
from wellfit.core.draws import Draw, Streams
from wellfit.core.hyper import Hyper, hypers
from wellfit.core.operands import Batch, Part, StepContext, Values, WeightInfo
from wellfit.core.phases import phases_of
from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import Schedule
from wellfit.core.select import describe_parameters, matches

STEPS_PER_EPOCH = 7


@dataclass(frozen=True)
class Subject:
    """A regularizer under test, with what the checks ask of it."""

    part: Regularizer
    given_companions: tuple[Regularizer, ...] | None = None

    @property
    def phases(self) -> tuple[str, ...]:
        return phases_of(self.part)

    def has(self, *phases: str) -> bool:
        return any(p in self.phases for p in phases)

    @property
    def maps(self) -> bool:
        """Whether it maps training batches."""
        return maps_batches(self.part)

    def batches(self, dtype: torch.dtype, members: int | None = None, rows: int = 6) -> dict[str, Batch]:
        """Batches of the kind of inputs it takes."""
        return sample_batches(dtype, members, rows, self.part.takes)

    @property
    def proximal(self) -> bool:
        return "step" in self.phases and "penalty" in self.phases

    @property
    def projecting(self) -> bool:
        default = "step" in self.phases and "penalty" not in self.phases and self.moment == "after"
        return bool(getattr(self.part, "projects", default))

    @property
    def moment(self) -> str | None:
        return getattr(self.part, "moment", None)

    @property
    def select(self) -> str:
        return getattr(self.part, "select", "all")

    @property
    def companions(self) -> tuple[Regularizer, ...]:
        if self.given_companions is not None:
            return self.given_companions
        return tuple(lookup(name)() for name in self.part.requires)

    @property
    def recipe(self) -> Recipe:
        return Recipe(*self.companions, self.part)

    @property
    def fields(self) -> dict[str, Hyper]:
        """The numeric hyperparameters in use: optional ones that are None are left out."""
        return {n: h for n, h in hypers(self.part).items() if getattr(self.part, n) is not None}

    def with_(self, **changes: Any) -> Regularizer:
        return replace(self.part, **changes)

    def number(self, name: str) -> float:
        """The value of a hyperparameter, a schedule's at half time."""
        value = getattr(self.part, name)
        return value.at(0.5) if isinstance(value, Schedule) else float(value)

    def fits(self, model: nn.Module) -> bool:
        """Whether what it selects is there in ``model``."""
        infos = [info for info, _ in describe_parameters(model).values()]
        return all(any(matches(i, p.select) for i in infos)  # type: ignore[attr-defined]
                   for p in (*self.companions, self.part) if p.per_weight)

    def network(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """A small network, (B, 4) → (B, 3), in which the part has something to act on: told by its class attributes."""
        part: Any = self.part
        wanted = (*getattr(part, "sites", ()), *getattr(part, "kinds", ()))
        made: nn.Module
        if getattr(part, "rewrites", "") in ("ghost_batch_norm", "norm_replacement") or self.has("finish"):
            made = SmallConvolutional(norm=True)
        elif self.has("drive"):
            made = SmallAttention()
        elif wanted and "linear" not in wanted and any("convolution" in w for w in wanted):
            made = SmallConvolutional()
        elif "recurrent" in wanted or "embedding" in wanted:
            made = SmallSequence()
        elif getattr(part, "where", "") == "existing":
            made = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.0), nn.Linear(6, 3))
        else:
            return SmallNetwork(dtype, seed)
        return _fill(made, dtype, seed)

    # ---- values

    def neutral(self) -> Regularizer:
        """The same regularizer, set to do nothing."""
        return self.with_(**{n: h.neutral for n, h in self.fields.items() if h.has_neutral})

    def variants(self, count: int = 4) -> list[Regularizer]:
        """``count`` settings that could be members of one stack: the neutral one, the given one, and some of the range."""
        settings = [self.neutral(), self.part]
        for k in range(count - 2):
            share = (k + 1) / (count - 1)
            settings.append(self.with_(**{n: _within(h, share) for n, h in self.fields.items() if h.search is not None}))
        return settings[:count]

    def numbers(self, setting: Regularizer, progress: float = 0.5) -> dict[str, float]:
        h = setting.values_at(progress)
        return {n: float(getattr(h, n)) for n in self.fields}

    def stacked(self, settings: Sequence[Regularizer], dtype: torch.dtype = torch.float64) -> Values:
        """(K,) tensors of the values, as the population hands them over."""
        rows = [self.numbers(s) for s in settings]
        return Values({n: torch.tensor([r[n] for r in rows], dtype=dtype) for n in self.fields}, members=True)

    def arrays(self, settings: Sequence[Regularizer]) -> Values:
        rows = [self.numbers(s) for s in settings]
        return Values({n: np.array([r[n] for r in rows], dtype=np.float64) for n in self.fields}, members=True)

    # ---- weights

    def infos(self) -> list[tuple[WeightInfo, tuple[int, ...]]]:
        """Kinds of parameters this part selects, with a small shape each."""
        found = [(info, shape) for info, shape in GEOMETRIES if matches(info, self.select)]
        return found or [(replace(info, name=self.select), shape) for info, shape in GEOMETRIES[:3]]


    def memory(self, shape: Sequence[int], dtype: torch.dtype, info: WeightInfo) -> dict[str, Tensor]:
        """What the part keeps for a weight of ``shape`` that began at some values."""
        if not self.has("memory"):
            return {}
        return self.part.begin(normal(shape, dtype, seed=61) * 0.5, info)  # type: ignore[attr-defined, no-any-return]


def _within(declared: Hyper, share: float) -> float:
    assert declared.search is not None
    low, high = declared.search
    if declared.scale == "log":
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    return float(round(value)) if declared.whole else value


@dataclass(frozen=True)
class Check:
    """One named statement, the regularizers it is about, and its test."""

    name: str
    statement: str
    applies: Callable[[Subject], bool]
    function: Callable[[Subject], None]


def check(statement: str, applies: Callable[[Subject], bool]) -> Callable[[Callable[[Subject], None]], Check]:
    """Make a :class:`Check` of a function; its name is the function's without ``check_``."""
    def made(function: Callable[[Subject], None]) -> Check:
        return Check(function.__name__.removeprefix("check_"), statement, applies, function)
    return made


_GEOMETRIES: tuple[tuple[WeightInfo, tuple[int, ...]], ...] = (
    (WeightInfo("first.weight", "linear", (-1,), (-2,), first=True), (3, 4)),
    (WeightInfo("first.weight", "linear", (-1,), (-2,), first=True, feature_groups=torch.tensor([0, 1, 1, 2])), (3, 4)),
    (WeightInfo("middle.weight", "linear", (-1,), (-2,)), (4, 3)),
    (WeightInfo("last.weight", "linear", (-1,), (-2,), last=True), (2, 3)),
    (WeightInfo("convolution.weight", "convolution", (-3, -2, -1), (-4, -2, -1)), (3, 2, 2, 2)),
    (WeightInfo("first_convolution.weight", "convolution", (-2, -1), (-3, -1), first=True), (3, 2, 2)),
    (WeightInfo("transposed.weight", "transposed_convolution", (-3, -1), (-2, -1), groups=2), (4, 3, 2)),
    (WeightInfo("recurrent.weight_hh_l0", "recurrent", (-1,), (-2,)), (4, 2)),
    (WeightInfo("grouped.weight", "convolution", (-2, -1), (-3, -1), groups=2), (4, 3, 2)),
    (WeightInfo("embedding.weight", "embedding", (-1,)), (4, 3)),
    (WeightInfo("middle.bias", "bias"), (5,)),
    (WeightInfo("norm.weight", "norm"), (5,)),
)
GEOMETRIES: tuple[tuple[WeightInfo, tuple[int, ...]], ...] = tuple(
    (replace(info, shape=shape, depth=n / (len(_GEOMETRIES) - 1), layers_behind=len(_GEOMETRIES) - 1 - n), shape)
    for n, (info, shape) in enumerate(_GEOMETRIES))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(shape: Sequence[int], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(tuple(shape), generator=generator(seed), dtype=torch.float64).to(dtype)


def awkward(shape: Sequence[int], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Random values among which are exact zeros, tiny and large ones; one whole row of tiny ones."""
    values = normal(shape, dtype, seed)
    flat = values.view(-1)
    for position, value in enumerate((0.0, 1e-30, -1e-30, 1e6, -1e6)):
        if position < flat.numel():
            flat[(position * 3 + 1) % flat.numel()] = value
    if values.ndim > 1 and len(values) > 1:
        values[-1] = 1e-30
    return values


def draw_of(part: Regularizer, seeds: int | Sequence[int] = 3, step: int = 0) -> Draw:
    return Streams(seeds).at(part.name, step)


def contexts_of(subject: Subject, shape: Sequence[int], dtype: torch.dtype = torch.float64,
                ) -> Iterator[tuple[str, StepContext]]:
    """Those of :func:`contexts` that a part can work in."""
    for kind, context in contexts(shape, dtype):
        if subject.part.metric == "diagonal" or "per weight" not in kind:
            yield kind, context


def contexts(shape: Sequence[int], dtype: torch.dtype = torch.float64, seed: int = 5) -> Iterator[tuple[str, StepContext]]:
    """What an optimizer may tell about a weight of ``shape``: one step size, or one for each weight."""
    yield "one step size", StepContext(0.3, 0.5, lambda: 0.3, STEPS_PER_EPOCH)
    yield "a step size per weight", StepContext(0.3, 0.5, lambda: spread(shape, dtype, seed), STEPS_PER_EPOCH)


def member_contexts(members: int, shape: Sequence[int], dtype: torch.dtype = torch.float64,
                    ) -> Iterator[tuple[str, StepContext, list[StepContext]]]:
    """Contexts of K stacked weights beside those of each alone."""
    rates = torch.linspace(0.1, 0.4, members, dtype=dtype)
    base = torch.full((members,), 0.5, dtype=dtype)
    each = spread((members, *shape), dtype)

    def alone(k: int, size: Any) -> StepContext:
        return StepContext(float(rates[k]), 0.5, lambda: size, STEPS_PER_EPOCH)

    yield ("a step size per member", StepContext(rates, base, lambda: rates, STEPS_PER_EPOCH),
           [alone(k, float(rates[k])) for k in range(members)])
    yield ("a step size per weight", StepContext(rates, base, each.clone, STEPS_PER_EPOCH),
           [alone(k, each[k].clone()) for k in range(members)])


def spread(shape: Sequence[int], dtype: torch.dtype = torch.float64, seed: int = 5) -> Tensor:
    """Step sizes over two decades, as Adam's metric has them."""
    return (10.0 ** (torch.rand(tuple(shape), generator=generator(seed), dtype=torch.float64) * 2 - 1.5)).to(dtype)


def gradient_parts(subject: Subject, dtype: torch.dtype, weights: Callable[..., Tensor] = normal,
                   members: int | None = None) -> list[Part]:
    lead = () if members is None else (members,)
    return [Part(info, weights((*lead, *shape), dtype, seed=11 + n), normal((*lead, *shape), dtype, seed=31 + n),
                 subject.memory((*lead, *shape), dtype, info))
            for n, (info, shape) in enumerate(subject.infos())]


def sample_batches(dtype: torch.dtype, members: int | None = None, rows: int = 6, takes: str = "anything",
                   ) -> dict[str, Batch]:
    """Batches of each task with inputs that a part ``takes``: (B, ...), or (K, B, ...) for K members."""
    lead = () if members is None else (members,)
    classes = 3
    labels = torch.randint(0, classes, (*lead, rows), generator=generator(42))
    soft = torch.softmax(normal((*lead, rows, classes), torch.float64 if dtype == torch.uint8 else dtype, seed=43), -1)
    numbers = normal((*lead, rows), soft.dtype, seed=44)
    first, *others = (_inputs(shape, (*lead, rows), dtype, takes) for shape in SHAPES[takes])
    found = {"classes": Batch(first, labels, classes), "class probabilities": Batch(first, soft, classes),
             "numbers": Batch(first, numbers)}
    if takes in ("anything", "rows"):
        found["classes, grouped columns"] = Batch(first, labels, classes, torch.tensor([0, 1, 1, 2, 2]))
    return found | {f"classes, inputs {tuple(x.shape[len(lead):])}": Batch(x, labels, classes) for x in others}


#: One example of each kind of inputs, in every shape it may have; three axes behind the batch are an image where images fit.
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "anything": ((5,), (3, 18, 18)), "rows": ((5,),), "images": ((3, 18, 18), (1, 18, 18)),
    "waveforms": ((64,), (1, 33), (2, 20)), "spectrograms": ((6, 9), (1, 8, 5), (2, 4, 7)), "tokens": ((12,),),
}


def _inputs(shape: Sequence[int], lead: Sequence[int], dtype: torch.dtype, takes: str) -> Tensor:
    if takes == "tokens":
        return torch.randint(0, 50, (*lead, *shape), generator=generator(41))
    if takes in ("images", "anything") and len(shape) == 3:
        return sample_images((*lead, *shape), dtype)
    inputs = normal((*lead, *shape), dtype, seed=41)
    inputs.flatten(len(lead))[..., 0, 0] = 0.0
    return inputs


def sample_images(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Images of middling values, the first with black and white: whole numbers up to 255 as uint8, else these over 255."""
    images = torch.randint(20, 220, tuple(shape), generator=generator(45))
    images[..., 0, :, 0, 0], images[..., 0, :, 0, 1] = 0, 255
    return images.to(torch.uint8) if dtype == torch.uint8 else images.to(dtype) / 255


def small_inputs(takes: str, rows: int) -> Tensor:
    """Inputs of the kind that a part ``takes`` for :class:`SmallNetwork`: 16 entries each for images, else 4."""
    if takes == "images":
        return sample_images((rows, 1, 4, 4), torch.float64)
    if takes == "tokens":
        return torch.randint(0, 50, (rows, 4), generator=generator(1))
    return normal((rows, 4), seed=1).reshape(rows, *((2, 2) if takes == "spectrograms" else (4,)))


def _fill(model: nn.Module, dtype: torch.dtype, seed: int) -> nn.Module:
    model.to(dtype)
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            parameter.copy_(normal(parameter.shape, dtype, seed=100 * seed + n) * 0.5)
    return model


class SmallConvolutional(nn.Module):
    """Two convolutions over 2 x 2 pixels, with or without a batch norm between them."""

    def __init__(self, norm: bool = False):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 2, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.first(x.view(-1, 1, 2, 2))))
        return self.head(torch.tanh(self.second(x)).mean((-2, -1)))  # type: ignore[no-any-return]


class SmallSequence(nn.Module):
    """Words, an LSTM and a linear layer: four numbers are four words of a vocabulary of seven."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.recurrent, self.head = nn.Embedding(7, 5), nn.LSTM(5, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        values, _ = self.recurrent(self.words((2 * x + 3).long().clamp(0, 6)))
        return self.head(values).mean(1)  # type: ignore[no-any-return]


class SmallAttention(nn.Module):
    """Attention among four numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(1, 6), nn.Linear(6, 3)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x[..., None])
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))  # type: ignore[no-any-return]


class SmallNetwork(nn.Module):
    """A network with everything a recipe may ask for: hidden layers, residual branches, (B, ...) of 4 inputs → (B, 3)."""

    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 0, inputs: int = 4):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, 6), nn.Linear(6, 6), nn.Linear(6, 3)])
        self.norm = nn.LayerNorm(6)
        self.branch = nn.Identity()
        self.skip = False
        _fill(self, dtype, seed)

    @property
    def branches(self) -> list[tuple[nn.Module, float]]:
        return [(self.branch, 1.0)]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.layers[0](x.flatten(1).to(self.norm.weight.dtype))))
        value = torch.tanh(self.layers[1](x))
        x = x + self.branch(value) if self.skip else value
        return self.layers[2](x)  # type: ignore[no-any-return]


def same(a: Tensor, b: Tensor) -> bool:
    """Bit for bit, but for the sign of zero."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(a, b))


def close(a: Tensor, b: Tensor, relative: float = 1e-14) -> bool:
    """Equal up to rounding of float64."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.dtype.is_floating_point:
        return bool(torch.equal(a, b))
    scale = max(1.0, float(b.abs().max())) if b.numel() else 1.0
    return bool(torch.allclose(a, b, rtol=relative, atol=relative * scale, equal_nan=True))


def largest_gap(a: Tensor, b: Tensor) -> str:
    return f"largest difference {float((a.double() - b.double()).abs().max()):.3g}" if a.shape == b.shape else \
        f"shapes {tuple(a.shape)} and {tuple(b.shape)}"


def metrics_of(epochs: int, members: int, seed: int = 0) -> list[Mapping[str, np.ndarray]]:
    """Made-up learning curves: falling, then rising, with noise; (K,) arrays per epoch."""
    rng = np.random.default_rng(seed)
    time = np.arange(epochs)[:, None]
    turn = rng.uniform(2, epochs, members)
    validation = 1 + 0.02 * (time - turn) ** 2 + 0.05 * rng.standard_normal((epochs, members))
    training = 2.0 * 0.9**time + 0.02 * rng.random((epochs, members))
    return [{"validation_loss": validation[t], "validation_error": validation[t] / 2, "train_loss": training[t],
             "train_error": training[t] / 2} for t in range(epochs)]

"""What is searched for a network of one's own, by what it is made of and what it is fed."""

from __future__ import annotations

from typing import Any

from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup, registered
from wellfit.search.architecture import Traits
from wellfit.search.configuration import Configuration
from wellfit.search.menus import Choice, Menu, Strengths

_RATE_SPAN = 10.0  # the learning rate is searched between the given one divided and multiplied by this

_WEIGHTS = (
    Choice("decay", ("weight_decay", "l2"), {"weight_decay": ("timescale",)}),
    Choice("sparsity", ("l1",), warm={"l1": 0.4}),
    Choice("max_norm", ("max_norm",)),
)
_STRUCTURE = (
    Choice("dropout", ("dropout", "spatial_dropout", "locked_dropout")),
    Choice("attention", ("attention_dropout",)),
    Choice("batch_norm", ("batch_norm",)),
    Choice("skip", ("skip_connections", "stochastic_depth")),
)
_TRAINING = (
    Choice("targets", ("label_smoothing", "target_noise")),
    Choice("average", ("ema", "swa")),
    Choice("stopping", ("early_stopping",), {"early_stopping": ("patience",)}),
    Choice("clipping", ("gradient_clipping",)),
    Choice("sharpness", ("sam",)),
)
_INPUTS: dict[str, tuple[Choice, ...]] = {
    "images": (
        Choice("flip", ("horizontal_flip",)),
        Choice("place", ("random_crop", "resized_crop")),
        Choice("turn", ("rotation",)),
        Choice("colour", ("color_jitter",)),
        Choice("erasing", ("erasing",)),
        Choice("mixing", ("mixup", "cut_mix")),
        Choice("policy", ("trivial_augment",)),
        Choice("noise", ("input_noise",)),
    ),
    "waveforms": (
        Choice("shift", ("time_shift",)),
        Choice("background", ("background_noise",), {"background_noise": ("rate", "snr")}),
        Choice("speed", ("speed_change",)),
        Choice("masks", ("spec_augment",)),
        Choice("mixing", ("mixup",)),
    ),
    "spectrograms": (Choice("masks", ("spec_augment",)), Choice("mixing", ("mixup",))),
    "rows": (Choice("augmentation", ("cut_mix", "cutout", "mixup")), Choice("noise", ("input_noise", "swap_noise"))),
    "tokens": (Choice("tokens", ("token_dropout",)),),
    "anything": (Choice("mixing", ("mixup",)), Choice("noise", ("input_noise",))),
}
_LEADING = ("weight_decay", "dropout", "batch_norm", "random_crop", "horizontal_flip", "mixup", "trivial_augment", "time_shift",
            "spec_augment", "background_noise", "label_smoothing", "early_stopping", "ema")

_SINGLES: Strengths = {
    "weight_decay": {"timescale": 20.0}, "l2": {"strength": 3e-4}, "l1": {"strength": 3e-5}, "max_norm": {"radius": 1.5},
    "dropout": {"rate": 0.2}, "spatial_dropout": {"rate": 0.1}, "locked_dropout": {"rate": 0.2}, "attention_dropout": {"rate": 0.1},
    "label_smoothing": {"amount": 0.1}, "target_noise": {"std": 0.1},
    "ema": {"decay": 0.99}, "swa": {"start": 0.6}, "early_stopping": {"patience": 10.0}, "gradient_clipping": {"max_norm": 1.0},
    "stochastic_depth": {"rate": 0.2}, "input_noise": {"std": 0.1}, "swap_noise": {"rate": 0.1}, "mixup": {"alpha": 0.3},
    "cut_mix": {"rate": 0.5}, "cutout": {"rate": 0.5, "share": 0.2}, "horizontal_flip": {"rate": 0.5},
    "random_crop": {"padding": 3.0}, "resized_crop": {"scale": 0.6}, "rotation": {"degrees": 10.0},
    "color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.02}, "erasing": {"rate": 0.4, "share": 0.2},
    "trivial_augment": {"rate": 0.8, "magnitude": 0.7}, "time_shift": {"share": 0.1},
    "background_noise": {"rate": 0.5, "snr": 15.0}, "speed_change": {"spread": 0.1},
    "spec_augment": {"time_share": 0.1, "frequency_share": 0.1}, "token_dropout": {"rate": 0.1},
}

# With a factor on the learning rate.
_COMMON: tuple[tuple[float, Strengths], ...] = (
    (1.0, {"weight_decay": {"timescale": 20.0}, "dropout": {"rate": 0.2}, "label_smoothing": {"amount": 0.1}}),
    (1.0, {"weight_decay": {"timescale": 10.0}, "ema": {"decay": 0.99}, "early_stopping": {"patience": 15.0}}),
)
_COMBINATIONS: dict[str, tuple[tuple[float, Strengths], ...]] = {
    "images": (
        (2.0, {"batch_norm": {}, "horizontal_flip": {"rate": 0.5}, "random_crop": {"padding": 3.0},
               "color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.02},
               "weight_decay": {"timescale": 20.0}}),
        (2.0, {"batch_norm": {}, "skip_connections": {}, "horizontal_flip": {"rate": 0.5},
               "trivial_augment": {"rate": 0.8, "magnitude": 0.7}, "weight_decay": {"timescale": 20.0}}),
        (2.0, {"batch_norm": {}, "random_crop": {"padding": 2.0}, "rotation": {"degrees": 12.0}, "cut_mix": {"rate": 0.5},
               "weight_decay": {"timescale": 20.0}}),
        (2.0, {"batch_norm": {}, "horizontal_flip": {"rate": 0.5}, "random_crop": {"padding": 3.0}, "mixup": {"alpha": 0.3},
               "label_smoothing": {"amount": 0.05}, "weight_decay": {"timescale": 10.0}}),
        (2.0, {"batch_norm": {}, "horizontal_flip": {"rate": 0.5}, "random_crop": {"padding": 3.0}, "cut_mix": {"rate": 0.5},
               "color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.02}, "ema": {"decay": 0.99}}),
    ),
    "waveforms": (
        (2.0, {"batch_norm": {}, "time_shift": {"share": 0.1}, "background_noise": {"rate": 0.8, "snr": 5.0},
               "spec_augment": {"time_share": 0.1, "frequency_share": 0.1}, "speed_change": {"spread": 0.1},
               "weight_decay": {"timescale": 20.0}}),
        (2.0, {"batch_norm": {}, "time_shift": {"share": 0.1}, "speed_change": {"spread": 0.1}, "dropout": {"rate": 0.2},
               "weight_decay": {"timescale": 20.0}}),
        (2.0, {"batch_norm": {}, "spec_augment": {"time_share": 0.15, "frequency_share": 0.15}, "mixup": {"alpha": 0.3},
               "label_smoothing": {"amount": 0.1}, "speed_change": {"spread": 0.1}}),
    ),
    "rows": (
        (1.0, {"dropout": {"rate": 0.4}, "cut_mix": {"rate": 0.5}, "label_smoothing": {"amount": 0.1},
               "weight_decay": {"timescale": 20.0}}),
        (1.0, {"dropout": {"rate": 0.2}, "input_noise": {"std": 0.2}, "ema": {"decay": 0.99}}),
    ),
    "tokens": (
        (1.0, {"dropout": {"rate": 0.3}, "token_dropout": {"rate": 0.1}, "weight_decay": {"timescale": 20.0},
               "label_smoothing": {"amount": 0.1}}),
    ),
}


def network_menu(kind: str, traits: Traits, learning_rate: float, *, classes: bool, steps_per_epoch: int) -> Menu:
    """The menu for inputs of a kind and a network of these traits."""
    known = registered()
    choices = tuple(Choice(c.name, tuple(o for o in c.options if o in known), c.fields, c.warm)
                    for c in (*_WEIGHTS, *_STRUCTURE, *_INPUTS[kind], *_TRAINING))
    menu = Menu(choices=tuple(c for c in choices if c.options),
                singles={n: _SINGLES.get(n, {}) for c in choices for n in c.options},
                combinations=tuple((factor * learning_rate, parts) for factor, parts in (*_COMBINATIONS.get(kind, ()), *_COMMON)),
                learning_rates=(learning_rate / _RATE_SPAN, learning_rate * _RATE_SPAN), default_rate=learning_rate,
                given=_given(traits, learning_rate, steps_per_epoch), leading=_LEADING)
    return menu.without(_refused(traits, classes, menu.methods))


def _refused(traits: Traits, classes: bool, methods: tuple[str, ...]) -> dict[str, str]:
    refused: dict[str, str] = {}
    for name in methods:
        part = lookup(name)
        if not classes and name == "label_smoothing":
            refused[name] = "it needs classes"
        elif classes and part.mixes_targets and not traits.soft_targets:
            refused[name] = "the loss takes no class probabilities"
        elif part.proximal and not traits.known_metric:
            refused[name] = "the metric of this optimizer is not known"
        elif hasattr(part, "transform") and not traits.one_tensor and name not in ("label_smoothing", "token_dropout"):
            refused[name] = "the inputs are not one tensor of numbers"
    if not traits.skips:
        refused["skip_connections"] = "the network offers none"
        if not traits.residual:
            refused["stochastic_depth"] = "the network has no residual branches that could be dropped"
    if not traits.attention:
        refused["attention_dropout"] = "the network has no attention"
    if not traits.kinds & {"recurrent"}:
        refused["locked_dropout"] = "the network is not recurrent"
    if not traits.kinds & {"convolution"}:
        refused["spatial_dropout"] = "the network has no convolutions"
    if classes:
        refused["target_noise"] = "the targets are classes"
    if traits.norms:
        refused["batch_norm"] = "the network is normalised already"
    if traits.layers < 2:
        refused |= {"dropout": "there is no hidden activation", "batch_norm": "there is no hidden layer"}
    if traits.kinds & {"recurrent"} and not traits.kinds & {"convolution"}:
        refused.setdefault("batch_norm", "recurrent networks are not normalised over the batch")
    return refused


def _given(traits: Traits, learning_rate: float, steps_per_epoch: int) -> tuple[Configuration, ...]:
    """What the user's own set-up stands for, as a recipe."""
    parts: list[Any] = []
    made: Any = lookup
    if traits.decoupled_decay:
        parts.append(made("weight_decay")(timescale=1 / (learning_rate * traits.decoupled_decay * steps_per_epoch)))
    elif traits.coupled_decay:
        parts.append(made("l2")(strength=traits.coupled_decay / 2))
    if traits.dropout and traits.layers > 1:
        parts.append(made("dropout")(rate=min(0.9, sum(traits.dropout) / len(traits.dropout))))
    return (Configuration(Recipe(*parts), learning_rate, "as given"),) if parts else ()

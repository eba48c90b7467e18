"""The registry: the only way from a name to a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import pytest

import wellfit as wf
from wellfit.core import registry
from wellfit.core.errors import nearest
from wellfit.core.phases import phases_of
from wellfit.core.registry import lookup, register, registered
from wellfit.core.regularizer import Regularizer, snake_case


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", registered())  # which loads them, or the first test would load them into its copy
    return


def test_names_are_the_snake_case_of_the_class() -> None:
    for name, cls in registered().items():
        assert name == snake_case(cls.__name__) == cls.identifier()
        assert lookup(name) is cls
    assert list(registered()) == sorted(registered())


def test_what_is_listed_is_a_copy() -> None:
    registered().clear()
    assert "l1" in registered()


def test_a_third_party_regularizer_is_known_at_once() -> None:
    @register
    @dataclasses.dataclass(frozen=True)
    class QuietThing(Regularizer):
        rewrites: ClassVar[str] = "skip_connections"

    assert lookup("quiet_thing") is QuietThing
    recipe = wf.Recipe(QuietThing())
    assert wf.Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert recipe.to_python() == "wf.Recipe(QuietThing())"  # not wf.QuietThing: there is none


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(wf.WellfitError, match="exists already"):
        @register
        @dataclasses.dataclass(frozen=True)
        class Dropout(Regularizer):
            rewrites: ClassVar[str] = "batch_norm"


def test_only_frozen_dataclasses_with_a_phase() -> None:
    with pytest.raises(wf.WellfitError, match="no frozen dataclass"):
        @register
        class Plain(Regularizer):
            rewrites: ClassVar[str] = "batch_norm"

            def __eq__(self, other: object) -> bool:
                return False

            __hash__ = None  # type: ignore[assignment]

            def update_(self) -> None: ...

            __dataclass_params__ = dataclasses.make_dataclass("Thawed", []).__dataclass_params__  # type: ignore[attr-defined]
    with pytest.raises(wf.WellfitError, match="implements no phase"):
        @register
        @dataclasses.dataclass(frozen=True)
        class Idle(Regularizer):
            pass


@pytest.mark.parametrize(("name", "hint"), [("dropuot", "dropout"), ("L1", "l1"), ("GroupLasso", "group_lasso"),
                                            ("xyzzy", None)])
def test_a_name_that_is_nearly_right_is_recognised(name: str, hint: str | None) -> None:
    with pytest.raises(wf.WellfitError) as caught:
        lookup(name)
    assert (f"did you mean {hint}?" in str(caught.value)) == (hint is not None)
    assert "group_lasso" in str(caught.value)  # the list of all


def test_nearest() -> None:
    assert nearest("MIXUP", ["mixup", "dropout"]) == "mixup"
    assert nearest("completely different", ["mixup", "dropout"]) is None
    assert nearest("anything", []) is None


def test_phases_of_each() -> None:
    expected = {
        "alpha_dropout": {"hidden"}, "attention_dropout": {"drive"}, "batch_norm_recalibration": {"finish"}, "drop_block": {"site"},
        "drop_connect": {"weight"}, "embedding_dropout": {"weight"}, "feature_alpha_dropout": {"site"},
        "gaussian_dropout": {"hidden"}, "ghost_batch_norm": {"rewrite"}, "locked_dropout": {"site"},
        "norm_replacement": {"rewrite"}, "orthogonal_weights": {"step"}, "spatial_dropout": {"site"}, "weight_noise": {"weight"},
        "weight_standardization": {"weight"},
        "batch_norm": {"rewrite"}, "cut_mix": {"batch"}, "cutout": {"batch"}, "dropout": {"hidden"},
        "early_stopping": {"monitor"}, "elastic_net": {"penalty", "step"}, "ema": {"average"},
        "gradient_clipping": {"gradient"}, "group_lasso": {"penalty", "step"}, "input_noise": {"batch"},
        "group_mcp": {"penalty", "step"},
        "l1": {"penalty", "step"}, "l2": {"penalty", "gradient"}, "label_smoothing": {"batch"}, "max_norm": {"step"},
        "mixup": {"batch"}, "skip_connections": {"rewrite"}, "stochastic_depth": {"branch"}, "swa": {"average"},
        "weight_decay": {"step"}, "box": {"step"}, "constrained_decay": {"memory", "step"},
        "factorized_l1": {"parametrize", "penalty", "gradient"}, "gated_groups": {"parametrize", "penalty", "gradient"},
        "half_norm": {"penalty", "step"}, "l2_sp": {"memory", "penalty", "gradient"}, "mcp": {"penalty", "step"},
        "min_max_norm": {"step"}, "non_negative": {"step"}, "nuclear_norm": {"penalty", "gradient", "step"},
        "orthogonality": {"penalty", "gradient"}, "scad": {"penalty", "step"}, "sparse_group_lasso": {"penalty", "step"},
        "spectral_norm": {"step"}, "unit_norm": {"step"}}
    expected |= {
        "activity_penalty": {"activity"}, "adaptive_clipping": {"gradient"}, "adversarial_noise": {"passes"}, "asam": {"ascent"},
        "bootstrapped_loss": {"outputs"}, "confidence_penalty": {"term"}, "forward_correction": {"outputs"},
        "gradient_noise": {"noise"}, "input_gradient_penalty": {"passes"}, "jacobian_penalty": {"passes"}, "lookahead": {"slow"},
        "rdrop": {"passes"}, "sam": {"ascent"}, "snapshot_ensemble": {"snapshot"}, "vat": {"passes"}}
    expected |= {n: {"batch"} for n in (
        "background_noise", "gain", "polarity", "spec_augment", "speed_change", "time_mask", "time_shift", "swap_noise",
        "token_dropout", "target_noise")}
    images = {n: {"warp"} for n in ("horizontal_flip", "quarter_turns", "random_crop", "random_scale", "resized_crop", "rotation",
                                    "shear", "translation", "vertical_flip")}
    images |= {n: {"batch"} for n in ("auto_contrast", "blur", "color_jitter", "equalize", "erasing", "grayscale", "posterize",
                                      "sharpness", "solarize")}
    expected |= images | {n: {"warp", "batch"} for n in ("rand_augment", "trivial_augment")}
    found = {n: set(phases_of(c)) for n, c in registered().items() if c.__module__.startswith("wellfit.")}
    assert {n: found[n] for n in expected} == expected

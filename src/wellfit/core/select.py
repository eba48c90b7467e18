"""Which parameters a regularizer touches, decided by the role of the owning module and never by parameter names alone.

A selection is one term or several joined by ``&``, all of which must hold:

====================  ==============================================================================================
term                  meaning
====================  ==============================================================================================
``weights``           weights of linear, convolutional, recurrent and embedding layers (the default of most methods)
``linear`` ...        one kind of weight: linear, convolution (transposed ones too), recurrent, embedding; ``attention``
                      for what belongs to an attention block
``first`` ``hidden``  the weights of the first layer, of the last, and of those between
``last``
``biases`` ``norms``  biases; gains and biases of normalisations
``factors``           factors that a parametrization puts in place of a weight
``all``               every parameter
``depth<0.5``         place of the layer, 0 for the first and 1 for the last; with <, <=, >, >= or ==
``ndim>=2``           number of dimensions; likewise ``size`` (number of entries) and ``layers_behind``
``encoder.*.weight``  a pattern for the parameter's name
====================  ==============================================================================================

``convolution & depth<0.5`` is the first half of the convolutions.
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import ParametrizationList

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.hyper import option
from wellfit.core.operands import WeightInfo

WEIGHT_KINDS = ("linear", "convolution", "transposed_convolution", "recurrent", "embedding")
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


def _is_weight(info: WeightInfo) -> bool:
    return info.kind in WEIGHT_KINDS


_WORDS: dict[str, Callable[[WeightInfo], bool]] = {
    "weights": _is_weight,
    "first": lambda i: _is_weight(i) and i.first,
    "hidden": lambda i: _is_weight(i) and not i.first and not i.last,
    "last": lambda i: _is_weight(i) and i.last,
    "linear": lambda i: i.kind == "linear",
    "convolution": lambda i: i.kind in ("convolution", "transposed_convolution"),
    "recurrent": lambda i: i.kind == "recurrent",
    "embedding": lambda i: i.kind == "embedding",
    "attention": lambda i: _is_weight(i) and i.attention,
    "biases": lambda i: i.kind == "bias",
    "norms": lambda i: i.kind == "norm",
    "factors": lambda i: i.kind == "factor",
    "all": lambda i: True,
}
_NUMBERS: dict[str, Callable[[WeightInfo], float]] = {
    "depth": lambda i: i.depth, "layers_behind": lambda i: i.layers_behind, "ndim": lambda i: len(i.shape),
    "size": lambda i: math.prod(i.shape),
}
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt,
}
_COMPARISON = re.compile(r"(\w+)\s*(<=|>=|==|<|>)\s*([-+.\deE]+)")


def selection(default: str = "weights") -> Any:
    """The ``select`` field of a regularizer that acts on weights."""
    return option(default, meaning="which parameters: weights (of linear, convolutional, recurrent and embedding layers), "
                                   "first, hidden, last, linear, convolution, recurrent, embedding, attention, biases, norms, "
                                   "all, a comparison such as depth<0.5 or ndim>=2, a name pattern such as "
                                   "'encoder.*.weight', or several joined by &")


def placement() -> Any:
    """The ``where`` field of a part that drops activations."""
    return option("auto", choices=("auto", "insert", "existing"),
                  meaning="auto: in place of the network's own dropout modules if it has any, else inserted before every layer but "
                          "the first; insert: inserted beside them; existing: in their place only")


def matches(info: WeightInfo, select: str) -> bool:
    """Whether a parameter is meant by ``select``.

    >>> info = WeightInfo("conv.weight", "convolution", depth=0.25)
    >>> [matches(info, s) for s in ("weights", "linear", "convolution & depth<0.5", "conv.*")]
    [True, False, True, True]
    """
    return all(_holds(info, term.strip(), select) for term in select.split("&"))


def _holds(info: WeightInfo, term: str, select: str) -> bool:
    if term in _WORDS:
        return _WORDS[term](info)
    if not term or any(sign in term for sign in "<>="):
        found = _COMPARISON.fullmatch(term)
        number = _number(found[3]) if found else None
        if not found or found[1] not in _NUMBERS or number is None:
            hint = nearest(found[1], _NUMBERS) if found else None
            raise WellfitError("This selection cannot be read.", received=repr(select),
                               expected=f"terms joined by &, comparisons such as depth<0.5 of {', '.join(_NUMBERS)}",
                               action=f"did you mean {hint}?" if hint and found and hint != found[1] else None)
        return _SIGNS[found[2]](_NUMBERS[found[1]](info), number)
    return fnmatch.fnmatchcase(info.name, term)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def selected(infos: Iterable[WeightInfo], select: str) -> list[WeightInfo]:
    """The parameters meant by ``select``; an empty answer is an error, since a part that touches nothing is a mistake."""
    infos = list(infos)
    found = [info for info in infos if matches(info, select)]
    if not found:
        alone = [t.strip() for t in select.split("&") if not any(_holds(i, t.strip(), select) for i in infos)]
        hints = [h for t in alone if t not in _WORDS and (h := nearest(t, [*_WORDS, *(i.name for i in infos)]))]
        raise WellfitError("This selection matches no parameter.", received=repr(select),
                           expected=", ".join(_WORDS) + ", a comparison such as depth<0.5, or a pattern matching one of "
                           + ", ".join(i.name for i in infos[:12]) + (", ..." if len(infos) > 12 else ""),
                           action=f"did you mean {' and '.join(hints)}?" if hints else None)
    return found


def describe_parameters(model: nn.Module, feature_groups: Tensor | None = None) -> dict[str, tuple[WeightInfo, nn.Parameter]]:
    """Every trainable parameter with what is known of it, tied parameters once.

    The first and last weight are taken by the order in which modules were registered. A module is an attention block if it is
    torch's, or if its class is called so; layers inside belong to it.
    """
    found: dict[str, tuple[WeightInfo, nn.Parameter]] = {}
    seen: set[int] = set()
    normalised = _owners_before_norms(model)
    attentive = tuple(f"{n}." for n, m in model.named_modules() if _is_attention(m))
    layer_of: dict[str, int] = {}
    owners: list[int] = []  # modules that own a weight, as they were registered: the layers
    for module_name, module in model.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            name = f"{module_name}.{own_name}" if module_name else own_name
            owner, whose = _owner(model, module, module_name)
            info = _info(name, whose or own_name, owner, parameter, id(owner) in normalised)
            if info.kind in WEIGHT_KINDS and id(owner) not in owners:
                owners.append(id(owner))
            layer_of[name] = owners.index(id(owner)) if id(owner) in owners else max(len(owners) - 1, 0)
            found[name] = (replace(info, kind="factor" if whose else info.kind, shape=tuple(parameter.shape),
                                   attention=_is_attention(owner) or name.startswith(attentive)), parameter)
    weights = [n for n, (info, p) in found.items() if info.kind in WEIGHT_KINDS or (info.kind == "factor" and info.unit_axes)]
    inputs = [n for n in weights if "weight_hh" not in n]
    firsts = {n for n in inputs if layer_of[n] == layer_of[inputs[0]] and _root(n) == _root(inputs[0])}
    for name, (info, parameter) in found.items():
        behind = max(len(owners) - 1, 0) - layer_of[name]
        info = replace(info, layers_behind=behind, depth=layer_of[name] / (len(owners) - 1) if len(owners) > 1 else 0.0)
        if name in weights:
            groups = feature_groups if name in firsts and info.kind != "factor" else None
            if groups is not None and parameter.shape[-1] != len(groups):
                raise WellfitError("feature_groups does not fit the network's first layer.",
                                   received=f"{len(groups)} columns", expected=f"{parameter.shape[-1]} columns ({name})")
            info = replace(info, first=name in firsts, last=_root(name) == _root(weights[-1]), feature_groups=groups)
        found[name] = (info, parameter)
    return found


def _root(name: str) -> str:
    """The weight that a factor belongs to; any other parameter is its own."""
    return re.sub(r"\.?parametrizations\.(\w+)\.original\d*$", r".\1", name)


def _owner(model: nn.Module, module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layer that a module's parameters belong to, and the name of the weight they are factors of ("" if they are none)."""
    if not isinstance(module, ParametrizationList):
        return module, ""
    path = name.split(".")
    return model.get_submodule(".".join(path[:-2])), path[-1]


def _is_attention(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or "attention" in type(module).__name__.lower()


def _info(name: str, own_name: str, module: nn.Module, parameter: nn.Parameter, feeds_norm: bool) -> WeightInfo:
    axes = tuple(range(-parameter.ndim + 1, 0))
    if isinstance(module, _NORMS):
        return WeightInfo(name, "norm")
    if parameter.ndim < 2 or "bias" in own_name:
        return WeightInfo(name, "bias" if "bias" in own_name else "other")
    if isinstance(module, _ConvTransposeNd):
        # (in, out/groups, ...): a unit is (group, out), so reduce over the group's inputs and the kernel
        spatial = tuple(range(-parameter.ndim + 2, 0))
        lead = -parameter.ndim
        return WeightInfo(name, "transposed_convolution", (lead, *spatial), (lead + 1, *spatial), module.groups,
                          feeds_norm=feeds_norm)
    if isinstance(module, _ConvNd):
        return WeightInfo(name, "convolution", axes, (-parameter.ndim, *axes[1:]), module.groups, feeds_norm=feeds_norm)
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return WeightInfo(name, "recurrent", axes, (-2,))
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return WeightInfo(name, "embedding", axes)
    if isinstance(module, nn.Linear | nn.Bilinear | nn.MultiheadAttention):
        return WeightInfo(name, "linear", axes, (-2,), feeds_norm=feeds_norm)
    return WeightInfo(name, "other", axes)


def _owners_before_norms(model: nn.Module) -> set[int]:
    """Modules followed at once, in registration order, by a normalisation over their outputs."""
    leaves = [m for m in model.modules() if not list(m.children()) or isinstance(m, nn.MultiheadAttention)]
    before = {id(a) for a, b in zip(leaves, leaves[1:], strict=False) if isinstance(b, _NormBase)}
    # norms inserted by wellfit live inside the layer they follow
    return before | {id(m) for m in model.modules() if hasattr(m, "wellfit_norm")}

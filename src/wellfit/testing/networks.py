"""Checks of what acts inside the network: activations, residual branches, weights computed with, rewrites."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from wellfit.core.draws import Draw, Streams
from wellfit.core.errors import WellfitWarning
from wellfit.core.operands import Site, Values, WeightInfo
from wellfit.core.plan import Plan
from wellfit.core.regularizer import Regularizer
from wellfit.testing.subject import SmallNetwork, Subject, awkward, check, largest_gap, normal, same

DEPTH = 0.5
REWRITES = ("batch_norm", "skip_connections", "ghost_batch_norm", "norm_replacement")


def act(part: Regularizer, values: Tensor, h: Values, draw: Draw) -> Tensor:
    """The hidden, site or weight phase, or the branch phase at half depth."""
    if hasattr(part, "on_hidden"):
        return part.on_hidden(values, h, draw)  # type: ignore[no-any-return]
    if hasattr(part, "on_weight"):
        info = WeightInfo("weight", part.kinds[0], tuple(range(1 - values.ndim, 0)))  # type: ignore[attr-defined]
        return part.on_weight(values, info, h, draw)  # type: ignore[no-any-return]
    if hasattr(part, "on_site"):
        flat = values.ndim == 2 and "convolution" in part.sites  # type: ignore[attr-defined]
        met = values[..., None] if flat else values
        found = part.on_site(met, site_of(part, met), h, draw)
        return found[..., 0] if flat else found  # type: ignore[no-any-return]
    return part.on_branch(values, DEPTH, h, draw)  # type: ignore[attr-defined, no-any-return]


def site_of(part: Regularizer, values: Tensor) -> Site:
    """A site of the first kind the part is for: channels behind the batch axis for convolutions, else in the end."""
    kind, dims = part.sites[0], values.ndim  # type: ignore[attr-defined]
    channels = 1 - dims if kind == "convolution" else -1
    rest = tuple(a for a in range(1 - dims, 0) if a != channels)
    return Site(0, "somewhere", kind, -dims, channels, None, rest, values.shape[channels])


def acts_inside(subject: Subject) -> bool:
    return subject.has("hidden", "branch", "site", "weight")


def _can_be_neutral(subject: Subject) -> bool:
    return acts_inside(subject) and any(h.has_neutral for h in subject.fields.values())


def _structural(subject: Subject) -> bool:
    return subject.has("hidden", "branch", "site", "weight", "drive", "rewrite")


@check("at its neutral value it leaves activations or weights bit for bit, alone and stacked", _can_be_neutral)
def check_neutral_network(subject: Subject) -> None:
    neutral = subject.neutral()
    for dtype in (torch.float64, torch.float32):
        for shape in ((6, 5), (6, 3, 4, 4)):
            values = awkward(shape, dtype)
            found = act(subject.part, values, neutral.values_at(0.5), Streams(1).at(subject.part.name, 0))
            assert same(found, values), f"{shape}, {dtype}: {largest_gap(found, values)}"
        if not subject.part.stacked:
            continue
        stack = torch.stack([awkward((6, 5), dtype, seed=k) for k in range(3)])
        h = subject.stacked([neutral, subject.part, neutral], dtype)
        found = act(subject.part, stack, h, Streams([1, 2, 3]).at(subject.part.name, 0))
        assert same(found[[0, 2]], stack[[0, 2]]), f"stacked, {dtype}"


@check("activations keep type, shape and device, and the ones given stay as they were", acts_inside)
def check_network_dtype(subject: Subject) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        values = normal((6, 5), dtype)
        before = values.clone()
        found = act(subject.part, values, subject.part.values_at(0.5), Streams(1).at(subject.part.name, 0))
        assert same(values, before), f"{dtype}: it wrote into the activations it was given"
        assert found.dtype == dtype, f"{dtype} became {found.dtype}"
        assert found.shape == values.shape, "the shape changed"
        assert found.device == values.device, "the device changed"


@check("gradients flow through it as through a fixed linear map of the draw", acts_inside)
def check_network_gradient(subject: Subject) -> None:
    values = normal((6, 5)).requires_grad_()
    direction = normal((6, 5), seed=9)
    h = subject.part.values_at(0.5)

    def value(x: Tensor) -> Tensor:
        return act(subject.part, x, h, Streams(1).at(subject.part.name, 0))

    out = value(values)
    gradient, = torch.autograd.grad((out * direction).sum(), values)
    width = 1e-6
    move = normal((6, 5), seed=10)
    with torch.no_grad():
        numeric = ((value(values + width * move) - value(values - width * move)) * direction).sum() / (2 * width)
    assert abs(float(numeric) - float((gradient * move).sum())) < 1e-6, "the gradient is not the derivative of the output"


def _twins(subject: Subject) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The network as it is, and a copy to compile for."""
    return subject.network(), subject.network()


def _compiled(subject: Subject, model: torch.nn.Module) -> Plan:
    return subject.recipe.compile(model, epochs=2, steps_per_epoch=3)  # type: ignore[no-any-return]


@check("in evaluation mode a compiled network computes what it did before, with the same parameter names",
       lambda s: s.has("hidden", "branch", "site", "weight", "drive") and not getattr(s.part, "always", False))
def check_inert_in_evaluation(subject: Subject) -> None:
    plain, model = _twins(subject)
    plan = _compiled(subject, model)
    if hasattr(model, "skip"):
        plain.skip = model.skip
    assert list(model.state_dict()) == list(plain.state_dict()), "names in state_dict changed"
    x = normal((32, 4))
    assert not torch.equal(model(x), plain(x)), "it does nothing in training either"
    model.eval()
    assert same(model(x), plain(x)), "the output in evaluation mode changed"
    assert same(model(x), model(x)), "two evaluations differ"
    model.train()
    plan.detach()
    assert same(model(x), plain(x)), "its hooks are still there after detach()"


@check("what compiling changed is recorded, and undo() gives the network back: outputs, names and attributes", _structural)
def check_undo(subject: Subject) -> None:
    plain, model = _twins(subject)
    plan = _compiled(subject, model)
    x = normal((8, 4))
    assert plan.changes(), "changes() tells of none"
    assert subject.part.name in {c.what for c in plan.changes()}, "changes() does not name it"
    model(x).sum().backward()
    plan.undo()
    assert same(model(x), plain(x)), "the network computes something else"
    assert list(model.state_dict()) == list(plain.state_dict()), "names in state_dict changed"
    for (name, a), (_, b) in zip(model.named_modules(), plain.named_modules(), strict=True):
        assert type(a) is type(b) and set(vars(a)) == set(vars(b)), f"{name}: something is left of it"
        assert not (a._forward_hooks or a._forward_pre_hooks), f"{name}: a hook is left"


@check("compiled a second time for the same network it acts as it did the first time, not twice", _structural)
def check_idempotent(subject: Subject) -> None:
    once, twice = _twins(subject)
    _compiled(subject, twice)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WellfitWarning)
        _compiled(subject, twice)
    _compiled(subject, once)
    x = normal((8, 4))
    assert same(once(x), twice(x)), f"it acts twice: {largest_gap(once(x), twice(x))}"


@check("it names a rewrite there is, and the rewritten network runs", lambda s: s.has("rewrite"))
def check_rewrite(subject: Subject) -> None:
    rewrite = subject.part.rewrites  # type: ignore[attr-defined]
    assert rewrite in REWRITES, f"unknown rewrite {rewrite!r}"
    plain, model = _twins(subject)
    plan = _compiled(subject, model)
    x = normal((8, 4))
    assert model(x).shape == (8, 3), "the shape of the output changed"
    assert not torch.equal(model(x), plain(x)), "the network computes what it did before"
    assert {n for n, _ in plain.named_parameters()} <= set(model.state_dict()), "a parameter lost its name"
    assert not model.load_state_dict(plain.state_dict(), strict=False).unexpected_keys, "an earlier checkpoint does not load"
    assert {n for n, _ in model.named_parameters()} == set(plan.parameters), "the plan does not know every parameter"


@check("factors in place of weights compute what the weights did, and finishing puts the weights back",
       lambda s: s.has("parametrize") and s.fits(SmallNetwork()))
def check_factors(subject: Subject) -> None:
    plain, model = SmallNetwork(), SmallNetwork()
    plan = subject.recipe.compile(model, epochs=2, steps_per_epoch=4)
    x = normal((8, 4))
    assert torch.allclose(model(x), plain(x), rtol=1e-10, atol=1e-10), "the network computes something else from the start"
    factors = [n for n, (info, _) in plan.parameters.items() if info.kind == "factor"]
    assert factors, "the plan knows of no factor"
    assert {n for n, _ in model.named_parameters()} == set(plan.parameters), "the plan does not know every parameter"
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    plan.attach(optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    before = model(x)
    final = plan.finish()
    assert list(final.state_dict()) == list(plain.state_dict()), "the finished network has other parameters"
    assert {n for n, _ in final.named_parameters()} == set(plan.parameters), "the plan still describes factors"
    slack = 1e-3 * float(before.abs().max())
    assert torch.allclose(final(x), before, atol=slack), "finishing changed the function by more than what it dropped"
    assert not same(final(x), plain(x)), "training changed nothing"


CHECKS = (check_neutral_network, check_network_dtype, check_network_gradient, check_inert_in_evaluation, check_undo,
          check_idempotent, check_rewrite, check_factors)

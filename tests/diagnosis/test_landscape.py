"""Flatness and curvature against quadratics and exact Hessians; nothing of the network changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import wellfit as wf
from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.boundary import smoothness
from wellfit.diagnosis.measures.curvature import top_eigenvalue, trace
from wellfit.diagnosis.measures.landscape import filter_normalised, line, plane, sharpness
from wellfit.diagnosis.measures.surface import Surface, module_of
from wellfit.population.inference import Network
from wellfit.population.network import NetworkSpec


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)).double()


def surface(n: int = 60, **more: int) -> Surface:
    return Surface(network(), numbers(n, 4), torch.arange(n) % 3, **more)


def hessian(of: Surface) -> np.ndarray:
    names, shapes = list(of.weights), [w.shape for w in of.weights.values()]
    sizes = [w.numel() for w in of.weights.values()]
    of.module.eval()

    def loss(flat: Tensor) -> Tensor:
        parts = [p.view(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        return of.loss(of.outputs(dict(zip(names, parts, strict=True)), of.inputs), of.targets).mean()

    start = torch.cat([w.flatten() for w in of.weights.values()])
    return torch.autograd.functional.hessian(loss, start).numpy()


def test_curvature_is_that_of_the_exact_hessian() -> None:
    of = surface(batch_size=25)
    exact = hessian(of)
    values = np.linalg.eigvalsh(exact)
    top = top_eigenvalue(of, iterations=40, tolerance=1e-6)
    assert top.value == pytest.approx(values[-1], rel=1e-4)
    short = top_eigenvalue(of, iterations=6)
    assert short.low <= values[-1] * (1 + 1e-9) and np.abs(values - short.value).min() <= short.high - short.low + 1e-9
    found = trace(of, probes=200)
    assert found.low < np.trace(exact) < found.high


def test_a_large_negative_eigenvalue_does_not_mislead() -> None:
    class Saddle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3, 0.2], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.w.square()).sum(1, keepdim=True)  # H = diag(2, -20)

    of = Surface(Saddle(), torch.tensor([[1.0, -10.0]], dtype=torch.float64), torch.zeros(1), lambda out, y: out[:, 0])
    assert top_eigenvalue(of).value == pytest.approx(2.0)
    assert trace(of).value == pytest.approx(-18.0)


def test_directions_have_the_size_of_their_filters() -> None:
    of = surface()
    direction = filter_normalised(of.weights, torch.Generator().manual_seed(1))
    for name, weight in of.weights.items():
        expected = weight.norm(dim=1) if weight.ndim == 2 else torch.zeros_like(weight)
        size = direction[name].norm(dim=1) if weight.ndim == 2 else direction[name]
        torch.testing.assert_close(size, expected)


def test_line_and_plane_pass_through_the_weights() -> None:
    of = surface()
    here = of.value(of.weights)
    along, across = line(of, points=5, directions=2), plane(of, points=3)
    assert along.losses.shape == (2, 5) and across.losses.shape == (3, 3)
    assert along.losses[:, 2] == pytest.approx(here) and across.losses[1, 1] == pytest.approx(here)
    assert np.ptp(along.losses) > 0
    assert np.array_equal(line(of, points=3, seed=4).losses, line(of, points=3, seed=4).losses)


def test_sharpness_knows_the_worst_of_a_quadratic() -> None:
    """L = Σ a w² / 2 at w = 1: in u the steepest ascent for a small radius raises it by ρ·√P·‖a‖ + O(ρ²)."""
    class Bowl(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.w.square() / 2).sum(1, keepdim=True)

    a = torch.tensor([[1.0, 2.0, 5.0]], dtype=torch.float64).repeat(4, 1)
    of = Surface(Bowl(), a, torch.zeros(4), lambda out, y: out[:, 0])
    radius = 1e-3 * 3**0.5
    assert sharpness(of, radius=1e-3).value == pytest.approx(radius * 30**0.5, rel=0.01)


def test_sharpness_ignores_rescaling_between_layers() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
        scaled = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    with torch.no_grad():
        scaled[0].weight.copy_(plain[0].weight * 10)
        scaled[2].weight.copy_(plain[2].weight / 10)
    x, y = numbers(50, 4), torch.arange(50) % 3
    a, b = (sharpness(Surface(m, x, y)) for m in (plain, scaled))
    assert a.value == pytest.approx(b.value, rel=1e-6) and a.value > 0
    assert top_eigenvalue(Surface(scaled, x, y)).value > 5 * top_eigenvalue(Surface(plain, x, y)).value  # which is why


def test_nothing_of_the_module_changes() -> None:
    module = network()
    module[1].eval()
    module(numbers(8, 4)).sum().backward()
    state = {n: t.clone() for n, t in module.state_dict().items()}
    grads = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    modes = [m.training for m in module.modules()]
    before = torch.get_rng_state()
    of = Surface(module, numbers(30, 4), torch.arange(30) % 3)
    line(of, points=3, directions=1), sharpness(of, steps=2), top_eigenvalue(of, iterations=3), trace(of, probes=2), smoothness(of)
    assert [m.training for m in module.modules()] == modes
    assert all(torch.equal(state[n], t) for n, t in module.state_dict().items())
    assert all(torch.equal(a, p.grad) for a, p in zip(grads, module.parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_a_steep_boundary_is_less_smooth() -> None:
    class Rule(nn.Module):
        def __init__(self, waves: float) -> None:
            super().__init__()
            self.waves = nn.Parameter(torch.tensor(waves, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            score = torch.sin(self.waves * x[:, :1])
            return torch.cat([score, -score], dim=1)

    x = numbers(300, 2)
    calm, wild = (smoothness(Surface(Rule(w), x, (x[:, 0] > 0).long())) for w in (0.5, 20.0))
    assert wild.change.low > calm.change.high and wild.gradient.low > calm.gradient.high
    assert len(calm.margins) == 5 and list(calm.margins) == sorted(calm.margins)


def test_units_of_the_inputs_do_not_matter() -> None:
    module, x = nn.Linear(3, 1).double(), numbers(80, 3)
    large = nn.Linear(3, 1).double()
    factor = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    with torch.no_grad():
        large.weight.copy_(module.weight / factor)
        large.bias.copy_(module.bias)
    y = x[:, 0]
    a, b = smoothness(Surface(module, x, y)), smoothness(Surface(large, x * factor, y))
    assert a.change.value == pytest.approx(b.change.value) and a.gradient.value == pytest.approx(b.gradient.value)


@pytest.mark.parametrize("skip", [False, True])
def test_the_built_in_network_as_a_module(skip: bool) -> None:
    spec = NetworkSpec(5, (8, 8), 3)
    weights = {n: p.detach().numpy() for n, p in wf.MLP(5, (8, 8), 3, seed=1).named_parameters()}
    rng = np.random.default_rng(0)
    for layer in range(2):
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"layers.{layer}.wellfit_norm.{part}"] = rng.uniform(0.5, 1.5, 8).astype(np.float32)
    fit = Network(spec, weights, skip)
    x = rng.normal(size=(7, 5)).astype(np.float32)
    module = module_of(fit)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), fit.outputs(x), atol=1e-6)
    assert sharpness(Surface(module, torch.from_numpy(x), torch.arange(7) % 3)).value > 0
    assert not any("running" in n for n, _ in module.named_parameters())


class Encoder(nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.body = (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) if kind == "transformer"
                     else nn.LSTM(8, 8, batch_first=True))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        return self.head((out[0] if isinstance(out, tuple) else out).mean(1))


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_networks_whose_fast_forms_have_no_second_derivative(kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Encoder(kind).double()
    of = Surface(module, numbers(6, 5, 8), torch.arange(6) % 3)
    weights = of.weights
    v = {n: numbers(*w.shape, seed=k) for k, (n, w) in enumerate(weights.items())}
    exact = of.curvature_times(weights, v)
    up, down = (of.gradient({n: w + t * v[n] for n, w in weights.items()}) for t in (1e-5, -1e-5))
    for name in weights:
        torch.testing.assert_close(exact[name], (up[name] - down[name]) / 2e-5, rtol=1e-3, atol=1e-6)


def test_an_operation_without_a_second_derivative_is_named() -> None:
    class Stop(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, slope: Tensor) -> Tensor:
            raise RuntimeError("derivative for aten::fused_backward is not implemented")

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, slope: Tensor) -> Tensor:
            return Stop.apply(slope)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(self.layer(x))

    with pytest.raises(WellfitError, match="second derivative"):
        trace(Surface(Net(), numbers(6, 4), torch.arange(6) % 3))


def test_a_loss_without_rows_is_refused() -> None:
    with pytest.raises(WellfitError, match="each row"):
        Surface(network(), numbers(6, 4), torch.arange(6) % 3, nn.CrossEntropyLoss()).value(surface().weights)
    with pytest.raises(WellfitError, match="moved a little"):
        smoothness(Surface(nn.Embedding(4, 2), torch.zeros(5, dtype=torch.long), torch.zeros(5)))

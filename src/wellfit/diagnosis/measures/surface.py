"""The loss of a trained network as a function of its weights, with nothing of the network changed by looking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from wellfit.core.errors import WellfitError
from wellfit.population.inference import Network
from wellfit.population.network import NORM_EPSILON, NetworkSpec, forward

Weights = dict[str, Tensor]
RowLoss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) to one loss per row, (n,)."""


def row_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy for whole-number targets, binary cross-entropy for one output and classes 0 and 1, else squared error; (n,)."""
    if targets.dtype.is_floating_point:
        return (outputs.reshape(len(targets), -1) - targets.reshape(len(targets), -1)).square().mean(1)
    if outputs.shape[-1] == 1 or outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs.reshape(-1), targets.to(outputs.dtype), reduction="none")
    return functional.cross_entropy(outputs, targets, reduction="none")


@contextlib.contextmanager
def as_it_was(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every mode, and the random state, is what it was."""
    modes = [(part, part.training) for part in module.modules()]
    devices = sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        try:
            module.eval()
            yield
        finally:
            for part, mode in modes:
                part.training = mode


class Surface:
    """L(w) = mean of a row loss over fixed rows, in evaluation mode: batch norm uses its running statistics, nothing is dropped.

    Weights are dictionaries of detached tensors by parameter name; buffers are copies. The module is never written to.

    Args:
        module: a trained network.
        inputs, targets: (n, ...) rows; a few hundred are enough for most measures.
        loss: from outputs and targets to (n,); None: :func:`row_losses`.
        batch_size: rows computed at a time.
    """

    def __init__(self, module: nn.Module, inputs: Tensor, targets: Tensor, loss: RowLoss | None = None, *, batch_size: int = 1024):
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise WellfitError("Inputs and targets do not fit.", received=f"{len(inputs)} and {len(targets)} rows",
                               expected="as many of both, one at least")
        self.module, self.inputs, self.targets, self.loss = module, inputs, targets, loss or row_losses
        self.batch_size = batch_size
        self.weights: Weights = {n: p.detach().clone() for n, p in module.named_parameters()}
        self._buffers = {n: b.detach().clone() for n, b in module.named_buffers()}

    def outputs(self, weights: Weights, inputs: Tensor) -> Tensor:
        """What the network answers with these weights."""
        return functional_call(self.module, {**self._buffers, **weights}, (inputs,))

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.inputs.split(self.batch_size), self.targets.split(self.batch_size), strict=True)

    def _losses(self, weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        losses = self.loss(self.outputs(weights, x), y)
        if losses.shape != (len(y),):
            raise WellfitError("The loss does not give a number for each row.", received=tuple(losses.shape),
                               expected=f"({len(y)},)", action='use reduction="none"')
        return losses

    @torch.no_grad()
    def rows(self, weights: Weights) -> Tensor:
        """(n,) losses of the rows."""
        with as_it_was(self.module):
            return torch.cat([self._losses(weights, x, y) for x, y in self._chunks()])

    def value(self, weights: Weights) -> float:
        return float(self.rows(weights).double().mean())

    def gradient(self, weights: Weights) -> Weights:
        """dL/dw."""
        free = {n: w.clone().requires_grad_() for n, w in weights.items()}
        total = {n: torch.zeros_like(w) for n, w in weights.items()}
        with as_it_was(self.module), torch.enable_grad():
            for x, y in self._chunks():
                loss = self._losses(free, x, y).sum() / len(self.targets)
                for name, part in zip(free, torch.autograd.grad(loss, list(free.values()), allow_unused=True), strict=True):
                    total[name] += 0 if part is None else part
        return total

    def curvature_times(self, weights: Weights, vector: Weights) -> Weights:
        """H·v, with the Hessian H of L at w: the gradient of gᵀv (Pearlmutter 1994).

        Raises WellfitError for a network with an operation that can be differentiated only once.
        """
        # fused attention and cuDNN's recurrent layers have no second derivative; their plain forms do
        with as_it_was(self.module), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            try:
                return self._curvature_times(weights, vector)
            except (RuntimeError, NotImplementedError) as error:
                if "derivative" not in str(error) and "backward" not in str(error):
                    raise
                raise WellfitError("The curvature of this network cannot be computed: an operation has no second derivative.",
                                   received=str(error).splitlines()[0], expected="operations that can be differentiated twice",
                                   action="look at sharpness and lines, which need first derivatives only") from error

    def _curvature_times(self, weights: Weights, vector: Weights) -> Weights:
        free = {n: w.clone().requires_grad_() for n, w in weights.items()}
        total = {n: torch.zeros_like(w) for n, w in weights.items()}
        for x, y in self._chunks():
            loss = self._losses(free, x, y).sum() / len(self.targets)
            slopes = torch.autograd.grad(loss, list(free.values()), create_graph=True, allow_unused=True)
            along = sum(((g * v).sum() for g, v in zip(slopes, vector.values(), strict=True) if g is not None),
                        torch.zeros((), dtype=loss.dtype))
            if not along.requires_grad:  # linear in every weight: no curvature
                continue
            for name, part in zip(free, torch.autograd.grad(along, list(free.values()), allow_unused=True), strict=True):
                total[name] += 0 if part is None else part
        return total


def moved(weights: Weights, direction: Weights, distance: float) -> Weights:
    """w + distance · d."""
    return {n: w + distance * direction[n] for n, w in weights.items()}


def inner(a: Weights, b: Weights) -> float:
    """Σ a·b over all weights."""
    return float(sum((x.double() * b[n].double()).sum() for n, x in a.items()))


class _Built(nn.Module):
    """The built-in network with the weights of a fit."""

    def __init__(self, spec: NetworkSpec, network: Network):
        super().__init__()
        self.spec, self.skip, self.norm = spec, network.skip, network.norm
        self.names: dict[str, str] = {}
        for name, value in network.weights.items():
            own = name.replace(".", "_")
            self.names[name] = own
            tensor = torch.tensor(value)
            if "running" in name or not tensor.dtype.is_floating_point:
                self.register_buffer(own, tensor)
            else:
                self.register_parameter(own, nn.Parameter(tensor))

    def forward(self, x: Tensor) -> Tensor:
        weights = {name: getattr(self, own)[None] for name, own in self.names.items()}

        def norm(layer: int, z: Tensor) -> Tensor:
            gain, shift, mean, var = (weights[f"layers.{layer}.wellfit_norm.{k}"][:, None, :]
                                      for k in ("weight", "bias", "running_mean", "running_var"))
            return (z - mean) * (gain * torch.rsqrt(var + NORM_EPSILON)) + shift

        return forward(self.spec, weights, x, skip=self.skip, norm=norm if self.norm else None)[0]


def module_of(network: Network) -> nn.Module:
    """A fit of the built-in network as a module, for the measures of this package. Batch norm stays in evaluation mode."""
    return _Built(network.spec, network).eval()

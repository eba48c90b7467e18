"""Structure phase on weights: layers compute with what the parts make of a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.core.errors import WellfitError
from wellfit.core.operands import WeightInfo
from wellfit.core.regularizer import Regularizer
from wellfit.core.surgery import weights
from wellfit.core.surgery.changes import Change
from wellfit.core.surgery.scene import Scene


class Computed:
    """The weights of one plan that are computed with. ``lasting`` takes off what acts in evaluation too."""

    def __init__(self, scene: Scene, parameters: Mapping[str, tuple[WeightInfo, nn.Parameter]],
                 touched: Mapping[Regularizer, Sequence[str]]):
        self._scene, self._parameters, self._touched = scene, parameters, touched
        self.lasting: list[Any] = []

    def _parts(self, name: str, *, always: bool | None = None) -> list[Any]:
        kind = self._parameters[name][0].kind
        return [p for p in self._scene.parts.get("weight", ()) if name in self._touched[p] and kind in p.kinds
                and (always is None or p.always == always)]

    def install(self) -> list[Change]:
        for part in self._scene.parts.get("weight", ()):
            if not any(part in self._parts(n) for n in self._touched[part]):
                raise WellfitError(f"{part.name} finds no weight of its kind.", received=f"select={part.select!r}",
                                   expected=f"a selected parameter that is {' or '.join(part.kinds)}")
        changes: list[Change] = []
        reading: dict[int, tuple[nn.Module, list[tuple[str, str, str]]]] = {}
        for name, (_, parameter) in self._parameters.items():
            acting = self._parts(name)
            if acting:
                changes += [Change(p.name, name, "weight as it is", f"weight through {p!r}") for p in acting]
                for module, path, attribute in weights.holders(self._scene.model, parameter):
                    reading.setdefault(id(module), (module, []))[1].append((name, path, attribute))
        there = bool(self.lasting)  # what acts in training only may come back alone, for a sample
        for module, rows in reading.values():
            for always in (True, False):
                wanted = [row for row in rows if self._parts(row[0], always=always)]
                if wanted and not (always and there):
                    made = weights.compute_with(module, self._changed(wanted, always), always=always,
                                                is_fused=self._scene.quiet(module))
                    (self.lasting if always else self._scene.passing).extend(made)
        if self.lasting and not there:
            self.lasting += weights.keep_dense(self._scene.model)
        return changes

    def _changed(self, rows: list[tuple[str, str, str]], always: bool) -> Callable[[nn.Module], dict[tuple[str, str], Tensor]]:
        def changed(module: nn.Module) -> dict[tuple[str, str], Tensor]:
            if not always and not self._scene.active(module):
                return {}
            return {(path, attribute): self._through(name, getattr(module.get_submodule(path), attribute), always)
                    for name, path, attribute in rows}
        return changed

    def _through(self, name: str, weight: Tensor, always: bool) -> Tensor:
        for part in self._parts(name, always=always):
            weight = part.on_weight(weight, self._parameters[name][0], self._scene.values(part),
                                    self._scene.draw(f"{part.name}/{name}"))
        return weight

    @torch.no_grad()
    def fold(self) -> None:
        """Write what is computed with in evaluation too into the parameters, and compute with those."""
        if self.lasting:
            for name, (_, parameter) in self._parameters.items():
                parameter.copy_(self._through(name, parameter, True))
        self.remove()

    def remove(self) -> None:
        while self.lasting:
            self.lasting.pop().remove()

"""The structure phase of one plan on one model: what it installed, and how it goes away."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitWarning
from wellfit.core.operands import Values, WeightInfo
from wellfit.core.regularizer import Regularizer
from wellfit.core.surgery import activations, branches, driven, dropping_branches, norms, touch
from wellfit.core.surgery.changes import Change, Changes
from wellfit.core.surgery.computed import Computed
from wellfit.core.surgery.scene import Scene


class Structure:
    """Installs the structure phases of a recipe on a model. See :class:`~wellfit.core.surgery.scene.Scene` for what it is given."""

    def __init__(self, model: nn.Module, parts: Mapping[str, Sequence[Any]], values: Callable[[Regularizer], Values],
                 steps: Callable[[], int], example: Any = None):
        self._scene = Scene(model, parts, values, steps, example)
        self._computed = Computed(self._scene, {}, {})
        self._permanent: list[Any] = []  # what is the network's now, until undone

    @property
    def changes(self) -> Changes:
        return Changes(self._scene.changes)

    @property
    def forwards(self) -> int:
        """Forward passes in training so far: what draws are keyed by."""
        return self._scene.forwards

    @forwards.setter
    def forwards(self, count: int) -> None:
        self._scene.forwards = count

    # ---- once, before the optimizer exists

    def rewrite(self) -> None:
        """The architectural changes, and nothing left of an earlier plan's hooks."""
        if touch.clear(self._scene.model):
            warnings.warn("The model carried what another plan had installed; it was taken off, so that nothing acts twice.",
                          WellfitWarning, stacklevel=5)
        for part in self._scene.parts.get("rewrite", ()):
            for change, undo in self._rewritten(part):
                self._scene.changes.append(change)
                self._permanent.append(undo)

    def _rewritten(self, part: Any) -> norms.Made:
        model = self._scene.model
        if part.rewrites == "skip_connections":
            before = bool(getattr(model, "skip", False))
            branches.add_skip_connections(model)
            return [(Change(part.name, "", f"skip={before}", "skip=True"), touch.Undo(lambda: setattr(model, "skip", before)))]
        if part.rewrites == "ghost_batch_norm":
            return norms.use_virtual_batches(model, part.virtual_batch)
        if part.rewrites == "norm_replacement":
            return norms.replace_batch_norms(model, part.kind, part.groups)
        return norms.add_batch_norm(model, self._scene.example)

    def install(self, streams: Streams, parameters: Mapping[str, tuple[WeightInfo, nn.Parameter]],
                touched: Mapping[Regularizer, Sequence[str]]) -> None:
        """Everything that acts during forward passes."""
        self._scene.streams = streams
        self._computed = Computed(self._scene, parameters, touched)
        self._scene.changes += self._act()

    def _act(self) -> list[Change]:
        scene = self._scene
        if not any(scene.parts.get(p) for p in ("hidden", "site", "weight", "drive", "branch")):
            return []
        made = [*activations.install(scene), *dropping_branches.install(scene), *self._computed.install(), *driven.install(scene)]
        scene.passing.append(touch.before(scene.model, scene.count, quiet=scene.quiet(scene.model)))
        return made

    # ---- and away

    def remove(self) -> None:
        """Take off what acts in training only; what is the network's own by now stays."""
        while self._scene.passing:
            self._scene.passing.pop().remove()

    def fold(self) -> None:
        """Write weights that are computed with in evaluation too into their parameters."""
        self._computed.fold()

    def undo(self) -> None:
        """Take everything back."""
        self.remove()
        self._computed.remove()
        while self._permanent:
            self._permanent.pop().remove()
        self._scene.changes.clear()

    @contextlib.contextmanager
    def sampled(self, seed: int) -> Iterator[Callable[[int], None]]:
        """Everything random acts, also in evaluation; the callable it gives chooses the number of the sample."""
        away = not self._scene.passing
        if away:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", WellfitWarning)  # said when it was compiled
                self._act()
        streams = Streams(seed, self._scene.streams.device if self._scene.streams else "cpu")

        def choose(number: int) -> None:
            self._scene.sample((streams, number))
        try:
            choose(0)
            yield choose
        finally:
            self._scene.sample(None)
            if away:
                self.remove()

"""The doctor's checks: how one is declared, and how all of them are run on a set-up."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from wellfit.core.errors import WellfitError, nearest
from wellfit.doctor.copies import unwrapped
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.finding import Evidence, Finding, Severity
from wellfit.doctor.lightning import completed
from wellfit.doctor.randomness import random_state_kept
from wellfit.doctor.report import Report
from wellfit.doctor.set_up import SetUp

COULD_NOT = "could-not-examine"


@dataclass(frozen=True)
class Observed:
    """What a check saw in one place.

    Attributes:
        where: parameter, module, loader or function that is meant.
        measured: what was measured, with its numbers.
        fix: code that mends it.
        severity: if it is not the one that the check declares.
    """

    where: str
    measured: str
    fix: str
    severity: Severity | None = None


Look = Callable[[Exam], Iterable[Observed]]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        id: kebab-case name, which is also what suppresses it.
        severity, evidence: of its findings.
        needs: parts of the :class:`~wellfit.doctor.set_up.SetUp`, all of which must be there; ``"a|b"`` means one of the two,
            ``"declared.l1"`` an entry of ``declared``.
        why: why it matters, one or two sentences.
        source: where that is shown.
        look: the function that measures.
    """

    id: str
    severity: Severity
    evidence: Evidence
    needs: tuple[str, ...]
    why: str
    source: str
    look: Look

    @property
    def part(self) -> str:
        """The part of the set-up that a finding points at."""
        return next((n for n in self.needs if n in ("train_step", "fit", "finalize", "validate")), "build")


_CHECKS: dict[str, Check] = {}


def check(id: str, *, severity: Severity, evidence: Evidence, why: str, source: str, needs: tuple[str, ...] = ()
          ) -> Callable[[Look], Look]:
    """Declare a function ``(exam) -> iterable of Observed`` as a check. One function may be declared under several ids.

    ``why`` and ``source`` are sentences for the person who reads the finding.
    """
    def declare(look: Look) -> Look:
        known = _CHECKS.get(id)
        if known is not None and (known.look.__module__, known.look.__qualname__) != (look.__module__, look.__qualname__):
            raise ValueError(f"two checks are called {id}")
        _CHECKS[id] = Check(id, severity, evidence, tuple(needs), why, source, look)
        return look
    return declare


def registered() -> dict[str, Check]:
    """Every check by id, those of all files in ``doctor/checks``."""
    from wellfit.doctor import checks

    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return dict(sorted(_CHECKS.items()))


def examine(set_up: SetUp, *, suppress: Collection[str] = (), only: Collection[str] = (),
            debug: bool = False) -> Report:
    """Run the checks. Nothing of the set-up is changed, nor is any random state.

    Args:
        set_up: what there is to examine.
        suppress: ids of checks that are left out.
        only: ids of the checks that are run; all if empty.
        debug: let the exception of a check through instead of noting it.

    Raises:
        WellfitError: an id that no check has.
    """
    checks = registered()
    for name in (*suppress, *only):
        if name not in checks:
            hint = nearest(name, checks)
            raise WellfitError("There is no such check.", received=repr(name), expected="an id that `wellfit check --list` shows",
                               action=f"did you mean {hint}?" if hint else None)
    set_up = completed(unwrapped(set_up))
    exam = Exam(set_up)
    report = Report()
    failures: dict[str, list[str]] = {}
    for id, one in checks.items():
        if id in suppress:
            report.suppressed.append(id)
            continue
        if only and id not in only:
            continue
        missing = [need for need in one.needs if not _given(set_up, need)]
        if missing:
            report.skipped[id] = "no " + " and no ".join(m.replace("|", " or ") for m in missing)
            continue
        try:
            with random_state_kept(), torch.enable_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = list(one.look(exam))
        except NotExaminable as reason:
            report.skipped[id] = str(reason)
        except Exception as error:
            if debug:
                raise
            what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            failures.setdefault(what, []).append(id)
        else:
            report.ran.append(id)
            report.findings += (Finding(id, o.severity or one.severity, one.evidence, o.where, o.measured, one.why, one.source,
                                        o.fix) for o in found)
    report.findings += _failed(failures)
    return report.sorted()


def _failed(failures: dict[str, list[str]]) -> Iterator[Finding]:
    for what, ids in failures.items():
        yield Finding(COULD_NOT, "note", "probe", ", ".join(ids), f"the check itself failed: {what}",
                      "What was not examined may be wrong.", "wellfit",
                      "# run it alone for the reason: wellfit check ... --debug --only " + ids[0])


def _given(set_up: SetUp, need: str) -> bool:
    def has(name: str) -> bool:
        part, _, entry = name.partition(".")
        value: Any = getattr(set_up, part)
        return value is not None and (not entry or entry in value)
    return any(has(name) for name in need.split("|"))

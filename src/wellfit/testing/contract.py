"""The checks, their names, and the one call that runs those which apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.regularizer import Regularizer
from wellfit.testing import batches, definition, networks, objectives, randomness, running, stacking, steps
from wellfit.testing.subject import Check, Subject

#: Every check by name, in the order in which they run: the plain ones first.
CHECKS: dict[str, Check] = {
    check.name: check for module in (definition, steps, batches, networks, randomness, objectives, stacking, running)
    for check in module.CHECKS}


def applicable(regularizer: Regularizer) -> list[str]:
    """Names of the checks that apply to a regularizer: decided by its phases and hyperparameters, never by its name.

    >>> from wellfit.regularizers import L1
    >>> "prox_minimises" in applicable(L1(0.1)), "projection" in applicable(L1(0.1))
    (True, False)
    """
    subject = Subject(regularizer)
    return [name for name, check in CHECKS.items() if check.applies(subject)]


def check_regularizer(regularizer: Regularizer, *, companions: Iterable[Regularizer] | None = None,
                      only: Iterable[str] | None = None, leave_out: Iterable[str] = ()) -> None:
    """Raise AssertionError unless ``regularizer`` keeps the contract of all regularizers.

    Which checks apply follows from the definition: its phases (the methods it has), its hyperparameters and its class
    attributes. A step phase with a penalty is held to be its proximal map; one without a penalty that acts after the
    optimizer is held to be a projection onto a convex set, unless the class says ``projects: ClassVar[bool] = False``.
    What a batch phase is run on follows from ``takes``.
    A ``rate`` of a phase inside the network is held to be the share of values that become 0, unless the class says
    ``zeroes: ClassVar[bool] = False``, and ones to stay ones on average, unless it says ``unbiased = False``.
    Without ``stacked`` nothing is held of stacks. The network it is tried on follows from ``sites``, ``kinds``, ``drives`` and
    ``rewrites``.

    Args:
        regularizer: an instance whose class is registered. Run it for several: a schedule, each named choice, each
            optional field.
        companions: the regularizers it cannot do without; by default what ``requires`` names, with default values.
        only: run only these checks (names as in ``CHECKS``).
        leave_out: do not run these.

    >>> from wellfit.regularizers import MaxNorm
    >>> check_regularizer(MaxNorm(2.0), only=["projection"])
    """
    subject = Subject(regularizer, None if companions is None else tuple(companions))
    wanted = list(CHECKS) if only is None else list(only)
    left_out = set(leave_out)
    for name in [*wanted, *left_out]:
        if name not in CHECKS:
            hint = nearest(name, CHECKS)
            raise WellfitError("There is no such check.", received=repr(name), expected=", ".join(CHECKS),
                               action=f"did you mean {hint}?" if hint else None)
    for name in wanted:
        check = CHECKS[name]
        if name not in left_out and check.applies(subject):
            _run(check, subject)


def _run(check: Check, subject: Subject) -> None:
    failed: Callable[[object], AssertionError] = lambda why: AssertionError(  # noqa: E731
        f"{subject.part!r} fails the check {check.name!r} ({check.statement}): {why}")
    try:
        check.function(subject)
    except AssertionError as error:
        raise failed(error) from error
    except Exception as error:  # a part that raises where it should work breaks the contract too
        raise failed(f"{type(error).__name__}: {error}") from error

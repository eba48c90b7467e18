"""Errors a person can act on: what was wrong, what was received, what was expected, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WellfitError(ValueError):
    """A mistake in what wellfit was given.

    The command line prints the message without a traceback and exits with status 2.

    Args:
        what: one sentence on what is wrong.
        received: the offending value, shown as given.
        expected: what would have been accepted.
        action: what to do next.

    >>> print(WellfitError("The budget is not positive.", received="0s", expected="a time such as 90s"))
    The budget is not positive.
      received: 0s
      expected: a time such as 90s
    """

    def __init__(self, what: str, *, received: object = None, expected: object = None, action: str | None = None):
        self.what, self.received, self.expected, self.action = what, received, expected, action
        rows = [what]
        rows += [f"  {label}: {value}" for label, value in
                 (("received", received), ("expected", expected), ("try", action)) if value is not None]
        super().__init__("\n".join(rows))


class WellfitWarning(UserWarning):
    """Something that works but probably not as meant, with the remedy."""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``name`` (case ignored), or None when nothing is close.

    >>> nearest("Dropuot", ["dropout", "mixup"])
    'dropout'
    """
    by_lower = {str(c).lower(): str(c) for c in candidates}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None

"""Errors a person can act on."""

from __future__ import annotations

import wellfit as wf


def test_all_four_parts_stand_on_their_own_line() -> None:
    error = wf.WellfitError("What.", received=0, expected="more", action="add one")
    assert str(error) == "What.\n  received: 0\n  expected: more\n  try: add one"
    assert (error.what, error.received, error.expected, error.action) == ("What.", 0, "more", "add one")
    assert isinstance(error, ValueError)
    assert str(wf.WellfitError("Only this.")) == "Only this."


def test_warnings_are_user_warnings() -> None:
    assert issubclass(wf.WellfitWarning, UserWarning)

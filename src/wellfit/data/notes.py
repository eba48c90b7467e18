"""What was decided on the way from a file to numbers, in words a person can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Note:
    """One decision or finding: how serious it is, a stable code for programs, and the sentence for people.

    >>> print(Note("warning", "rare_class", "Class 'van' has only 3 rows."))
    warning: Class 'van' has only 3 rows.
    """

    level: Literal["info", "warning"]
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.message}"


def quoted(names: Iterable[object], limit: int = 8) -> str:
    """A readable list of names, cut after ``limit`` of them.

    >>> quoted(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    texts = [repr(str(name)) for name in names]
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest} more" if rest > 0 else "")


def plural(count: int, noun: str) -> str:
    """The count with its noun.

    >>> plural(1, "row"), plural(3, "row"), plural(2, "class")
    ('1 row', '3 rows', '2 classes')
    """
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")

"""One measured number with its interval, in plain words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["alarm", "notice", "good"]


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        id, title: its name.
        value: the number, in ``unit``.
        ci: its 95% interval, where there is one.
        words: what it says.
        level: alarm (it harms), notice (worth knowing), good.
        decided: whether the verdict rests on it.
    """

    id: str
    title: str
    value: float
    unit: str
    words: str
    ci: tuple[float, float] | None = None
    level: Level = "notice"
    decided: bool = False

    def to_mapping(self) -> dict[str, Any]:
        return {**asdict(self), "ci": list(self.ci) if self.ci is not None else None}


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage.

    >>> percent(0.1234), percent(0.1234, 1)
    ('12%', '12.3%')
    """
    return f"{100 * share:.{digits}f}%" if math.isfinite(share) else "all"


def between(low: float, high: float, digits: int = 0) -> str:
    """An interval of shares.

    >>> between(0.1, 0.25)
    '10% to 25%'
    """
    return f"{percent(low, digits)} to {percent(high, digits)}"

"""What the doctor says: one mistake, what was measured, why it matters, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
Evidence = Literal["static", "probe", "data"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
        id: kebab-case name of the check, which is also what suppresses it.
        severity: "error" (the result is wrong, or not what was asked for), "warning" (it probably costs quality), "note".
        evidence: "static" (read off the objects), "probe" (measured by running the model or the training), "data" (measured on
            batches).
        where: parameter, module, loader or function that is meant.
        measured: what was measured, with its numbers.
        why: why it matters.
        source: where that is shown.
        fix: code that mends it.
    """

    id: str
    severity: Severity
    evidence: Evidence
    where: str
    measured: str
    why: str
    source: str
    fix: str

    def to_mapping(self) -> dict[str, Any]:
        return asdict(self)

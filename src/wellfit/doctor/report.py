"""What an examination gives: findings, and what was and was not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from wellfit.doctor.finding import SEVERITIES, Finding


@dataclass
class Report:
    """Findings of the doctor, gravest first.

    Attributes:
        findings: sorted by severity.
        ran: ids of the checks that were run.
        skipped: id -> why the check could not be run.
        suppressed: ids that were left out on request.
    """

    findings: list[Finding] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    suppressed: list[str] = field(default_factory=list)

    def sorted(self) -> Report:
        self.findings.sort(key=lambda f: (SEVERITIES.index(f.severity), f.id, f.where))
        return self

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self.findings if f.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [f for f in self.findings if f.severity == "warning"]

    @property
    def ok(self) -> bool:
        """Neither errors nor warnings."""
        return not self.errors and not self.warnings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

"""What an examination gives: findings, and what was and was not looked at."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wellfit.doctor.finding import SEVERITIES, Finding, Severity


@dataclass(frozen=True)
class Place:
    """A line of a source file."""

    file: str
    line: int


@dataclass
class Report:
    """Findings of the doctor, gravest first.

    Attributes:
        findings: sorted by severity.
        ran: ids of the checks that were run.
        skipped: id -> why the check could not be run.
        suppressed: ids that were left out on request.
        places: part of the set-up ("build", "fit", ...) -> the line of the function.
    """

    findings: list[Finding] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    suppressed: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

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

    def at_least(self, severity: Severity) -> list[Finding]:
        """Findings of this severity and graver ones."""
        return [f for f in self.findings if SEVERITIES.index(f.severity) <= SEVERITIES.index(severity)]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        return True  # a report without findings is a report

    @property
    def headline(self) -> str:
        """Counts in one line."""
        counts = [(s, sum(f.severity == s for f in self.findings)) for s in SEVERITIES]
        said = ", ".join(f"{n} {s}{'s' if n > 1 else ''}" for s, n in counts if n) or "nothing found"
        skipped = f", {len(self.skipped)} could not be for lack of parts" if self.skipped else ""
        hidden = f", {len(self.suppressed)} suppressed" if self.suppressed else ""
        return f"{said} ({len(self.ran)} checks made{skipped}{hidden})"

    def to_text(self, *, skipped: bool = True) -> str:
        """All findings with their fixes, then what could not be examined."""
        blocks = [self.headline]
        for f in self.findings:
            code = "\n".join(f"      {line}" for line in f.fix.splitlines())
            blocks.append(f"{f.severity}: {f.id} [{f.evidence}] at {f.where}\n  measured: {f.measured}\n  why: {f.why}\n"
                          f"  source: {f.source}\n  fix:\n{code}\n  suppress: # wellfit: ignore[{f.id}]")
        if skipped and self.skipped:
            reasons: dict[str, list[str]] = {}
            for id, reason in self.skipped.items():
                reasons.setdefault(reason, []).append(id)
            blocks.append("not examined:\n" + "\n".join(f"  {reason}: {', '.join(ids)}" for reason, ids in reasons.items()))
        return "\n\n".join(blocks)

    def __str__(self) -> str:
        return self.to_text()

    def to_mapping(self) -> dict[str, Any]:
        return {"ok": self.ok, "findings": [f.to_mapping() for f in self.findings], "ran": list(self.ran),
                "skipped": dict(self.skipped), "suppressed": list(self.suppressed)}

    def to_json(self) -> str:
        """The report as JSON: ok, findings, ran, skipped, suppressed."""
        return json.dumps(self.to_mapping(), indent=2, ensure_ascii=False)

    def to_sarif(self) -> str:
        """The report as SARIF 2.1.0, which code hosts show beside the lines that are meant."""
        from wellfit.doctor.sarif import sarif

        return json.dumps(sarif(self), indent=2, ensure_ascii=False)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{f.severity}</td><td><code>{html.escape(f.id)}</code><br>{html.escape(f.where)}</td>"
            f"<td>{html.escape(f.measured)}<br><small>{html.escape(f.why)} ({html.escape(f.source)})</small></td>"
            f"<td><pre>{html.escape(f.fix)}</pre></td></tr>" for f in self.findings)
        head = "<tr><th>severity</th><th>check</th><th>measured</th><th>fix</th></tr>"
        return f"<p>{html.escape(self.headline)}</p>" + (f"<table>{head}{rows}</table>" if rows else "")

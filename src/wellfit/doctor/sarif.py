"""A report in the Static Analysis Results Interchange Format (OASIS SARIF 2.1.0)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wellfit.doctor.finding import Finding
from wellfit.doctor.registry import COULD_NOT, registered
from wellfit.doctor.report import Place, Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(report: Report) -> dict[str, Any]:
    """The report as a SARIF log with one run: a rule for every check, a result for every finding, its fix in the message."""
    rules = [_rule(c.id, c.severity, c.why, c.source) for c in registered().values()]
    rules.append(_rule(COULD_NOT, "note", "A check failed of itself, so what it looks for may be there.", "wellfit"))
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    results = [_result(report, f, index[f.id]) for f in report.findings]
    driver = {"name": "wellfit", "semanticVersion": _version(), "rules": rules}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits",
                                                            "results": results}]}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wellfit")
    except PackageNotFoundError:
        return "0.0.0"


def _rule(id: str, severity: str, why: str, source: str) -> dict[str, Any]:
    text = f"{why} Source: {source}."
    return {"id": id, "name": "".join(word.capitalize() for word in id.split("-")),
            "shortDescription": {"text": id.replace("-", " ").capitalize()}, "fullDescription": {"text": why},
            "help": {"text": text, "markdown": f"{why}\n\n*Source:* {source}\n\nSuppress with `# wellfit: ignore[{id}]`."},
            "defaultConfiguration": {"level": severity}}


def _result(report: Report, finding: Finding, rule: int) -> dict[str, Any]:
    check = registered().get(finding.id)
    place = report.places.get(check.part if check is not None else "build") or report.places.get("build")
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": finding.where, "kind": "object"}]}
    if place is not None:
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(place)}, "region": {"startLine": place.line}}
    return {"ruleId": finding.id, "ruleIndex": rule, "level": finding.severity, "locations": [location],
            "message": {"text": f"{finding.where}: {finding.measured}\n{finding.why}\nFix:\n{finding.fix}"},
            "properties": {"evidence": finding.evidence}}


def _uri(place: Place) -> str:
    path = Path(place.file)
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.resolve().as_uri()

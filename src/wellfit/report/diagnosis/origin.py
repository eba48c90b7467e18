"""What the diagnosis cost and how it was asked for."""

from __future__ import annotations

from wellfit.report.artefacts import as_list, as_number, as_text
from wellfit.report.diagnosis.artefacts import Diagnosis
from wellfit.report.markup import Section, bullets, esc
from wellfit.report.numbers import count, seconds
from wellfit.report.tables import details, facts, table


def provenance(diagnosis: Diagnosis) -> Section | None:
    """Cost, command, versions and warnings."""
    cost, content = diagnosis.part("cost"), diagnosis.content
    command = content.get("command")
    spent = facts([("time", seconds(cost["seconds"]) if as_number(cost.get("seconds")) is not None else ""),
                   ("trainings", count(cost["trainings"]) if as_number(cost.get("trainings")) is not None else ""),
                   ("seed", as_text(content.get("seed"))), ("created", as_text(content.get("created"))),
                   ("command", " ".join(map(str, command)) if isinstance(command, list) else as_text(command))])
    warnings = [as_text(w) for w in as_list(content.get("warnings")) if as_text(w)]
    versions = [[name, as_text(v)] for name, v in diagnosis.part("versions").items()]
    blocks = [bullets(map(esc, warnings), class_="warnings") if warnings else "", spent,
              details("Versions", table(["package", "version"], versions, label="Versions")) if versions else ""]
    content_html = "".join(blocks)
    return Section("provenance", "Cost and provenance", content_html, "Provenance") if content_html else None

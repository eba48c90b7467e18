"""The sections of the report, one function each: ``(run, scores) -> Section | None``."""

"""The stages of a search, one after the other, and the artefacts at its end."""

from __future__ import annotations

from wellfit.search.conclude import Conclusion
from wellfit.search.explore import Exploration
from wellfit.search.session import Session
from wellfit.search.summary import Findings, write_artefacts


def execute(session: Session) -> None:
    """Explore, conclude, write."""
    exploration = Exploration(session)
    candidates = exploration.explore()
    findings = Findings(session.scorer, list(exploration.outcomes.values()), {}, candidates=candidates,
                        glimpsed=exploration.glimpsed)
    Conclusion(session).conclude(findings)
    write_artefacts(session.run, session.prepared, session.settings, session.trainer, findings, session.clock.used, session.seed,
                    session.interrupted)
    if not session.interrupted:  # else it can still be resumed
        session.run.clean_up()

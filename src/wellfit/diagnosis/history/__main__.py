"""``python -m wellfit.diagnosis.history FILE``: the verdict on a training history, in plain text or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.history import history_verdict, read_history, words


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdict; 0, or 2 for a mistake in what was given."""
    parser = argparse.ArgumentParser(prog="python -m wellfit.diagnosis.history",
                                     description="A verdict from a training history alone.")
    parser.add_argument("path", help="csv, JSON, TensorBoard event file, trials.jsonl, or a folder with one of them")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--lower-is-better", dest="higher", action="store_false", default=None, help="of the metric")
    parser.add_argument("--higher-is-better", dest="higher", action="store_true", help="of the metric")
    options = parser.parse_args(arguments)
    try:
        verdict = history_verdict(read_history(options.path, higher_is_better=options.higher))
    except WellfitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(verdict.to_dict(), ensure_ascii=False) if options.json else "\n".join(words(verdict)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

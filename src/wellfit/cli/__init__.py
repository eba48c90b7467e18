"""The command line: one file per command, and what they share."""

from wellfit.cli.app import main

__all__ = ["main"]

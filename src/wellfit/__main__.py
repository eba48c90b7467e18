"""``python -m wellfit``."""

import sys

from wellfit.cli import main

if __name__ == "__main__":  # worker processes import this file too
    sys.exit(main())

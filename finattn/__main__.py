"""``python -m finattn`` is the command line."""

import sys

from finattn.cli import main

if __name__ == "__main__":
    sys.exit(main())

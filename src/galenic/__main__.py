"""``python -m galenic``: the command line."""

import sys

from galenic.app.cli import main

if __name__ == "__main__":
    sys.exit(main())

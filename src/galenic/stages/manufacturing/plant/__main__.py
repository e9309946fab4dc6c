"""``python -m galenic.stages.manufacturing.plant``: run a virtual plant."""

import sys

from galenic.stages.manufacturing.plant.process import main

if __name__ == "__main__":
    sys.exit(main())

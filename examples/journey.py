"""The article as one page: `python examples/journey.py -o journey/`. The work is in the folder of the same name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.journey.__main__ import main

if __name__ == "__main__":
    main()

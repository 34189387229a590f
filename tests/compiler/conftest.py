"""Lets the tests of compiler/ and execute/ import their helpers under every import mode of pytest."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("compiler", "execute")]

"""The seed article again, as one page: `python examples/journey.py -o journey/`."""

from . import classic, unusual
from .networks import Journey

__all__ = ["Journey", "classic", "unusual"]

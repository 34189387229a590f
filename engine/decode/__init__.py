"""From photo files to uint8 batches: find them, read them as the network's own library would, keep their order."""

from .attributes import attributes
from .decoder import Decoder
from .photo import read_upright, read_view
from .sources import Photo, list_photos

__all__ = ["Decoder", "Photo", "attributes", "list_photos", "read_upright", "read_view"]

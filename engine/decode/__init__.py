"""From photo files to uint8 batches: find them, read them as the network's own library would, keep their order."""

from .attributes import attributes
from .decoder import Decoder, batches_of
from .entry import Photo, photo_of
from .manifest import Manifest, keep_manifest, write_manifest
from .photo import View, read_upright, read_view
from .sources import list_photos
from .storage import Storage
from .urls import absolute

__all__ = [
    "Decoder",
    "Manifest",
    "Photo",
    "Storage",
    "View",
    "absolute",
    "attributes",
    "batches_of",
    "keep_manifest",
    "list_photos",
    "photo_of",
    "read_upright",
    "read_view",
    "write_manifest",
]

"""Maps to pixels: scaling, upsampling, colour, blending, tiling, contact sheets.

`native` does it in C++; `reference` is the same in plain NumPy, and the tests hold the one to the other.
"""

from .colormaps import ColormapName, colormap, colormap_names
from .gallery import Caption, Gallery, Look, percent
from .native import Box, Filter, Sampling, Scope, index_maps, overlay, resize, tile, value_ranges
from .pictures import channel_mosaic, display_ranges, filter_mosaic, overlay_on_photo, overlay_pictures
from .sheet import Cell, Section, contact_sheet

__all__ = [
    "Box",
    "Caption",
    "Cell",
    "ColormapName",
    "Filter",
    "Gallery",
    "Look",
    "Sampling",
    "Scope",
    "Section",
    "channel_mosaic",
    "colormap",
    "colormap_names",
    "contact_sheet",
    "display_ranges",
    "filter_mosaic",
    "index_maps",
    "overlay",
    "overlay_on_photo",
    "overlay_pictures",
    "percent",
    "resize",
    "tile",
    "value_ranges",
]

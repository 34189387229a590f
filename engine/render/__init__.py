"""Maps to pixels: scaling, upsampling, colour, blending, tiling, contact sheets.

`native` does it in C++; `reference` is the same in plain NumPy, and the tests hold the one to the other.
"""

from .colormaps import ColormapName, colormap, colormap_names
from .native import Box, Filter, Sampling, Scope, index_maps, overlay, resize, tile, value_ranges

__all__ = [
    "Box",
    "ColormapName",
    "Filter",
    "Sampling",
    "Scope",
    "colormap",
    "colormap_names",
    "index_maps",
    "overlay",
    "resize",
    "tile",
    "value_ranges",
]

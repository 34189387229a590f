"""Seeded randomness for the painter: one stream for each part of a scene, and fractal noise on a lattice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatArray = npt.NDArray[np.floating]
"""float32 throughout; NumPy's stubs take float32 times a Python float for float64, so the type says less."""


def stream(seed: int, part: int) -> np.random.Generator:
    """The random numbers of one part of one scene (PCG64).

    Each part has its own stream, so that a seed gives the same wood with or without a tank and in either weather.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, part])))


def enlarge(values: FloatArray, height: int, width: int) -> FloatArray:
    """Resize float32 [h, w] to float32 [height, width], bicubic."""
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def fractal(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int, gain: float = 0.5
) -> FloatArray:
    """Fractal value noise, float32 [height, width], mean about 0.5, mostly within 0..1.

    Args:
        rng: a stream of its own; the lattices do not depend on the size, so a larger painting shows the same clouds.
        cells: rows and columns of the coarsest lattice; each octave doubles them.
        octaves: lattices added up. One that is finer than the picture is left out.
        gain: amplitude of an octave relative to the one before it.
    """
    total = np.zeros((height, width), np.float32)
    weight, amplitude = 0.0, 1.0
    for octave in range(octaves):
        rows, columns = cells[0] << octave, cells[1] << octave
        if rows > height or columns > width:
            break
        # Value noise is flat where neighbours agree; three more cells keep the border away from the frame.
        lattice = rng.random((rows + 3, columns + 3), np.float32)
        total += amplitude * enlarge(lattice, height, width)
        weight += amplitude
        amplitude *= gain
    # Octaves average out towards 0.5; stretching by the square root of their number keeps the contrast.
    return 0.5 + (total / weight - 0.5) * np.float32(1.6)


def smoothstep(values: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, a smooth ramp between, element-wise."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)

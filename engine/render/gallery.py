"""From explained photos to the cards of a contact sheet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..contract import MapSpec, Spec
from .colormaps import ColormapName
from .pictures import Scale, channel_mosaic, display_ranges, overlay_pictures
from .sheet import Cell, Mark, contact_sheet


@dataclass(frozen=True)
class Look:
    """How maps are drawn: the colormap, how they are scaled (see `display_ranges`), the map's opacity 0 to 1."""

    colormap: ColormapName | str = "viridis"
    scale: Scale = "image"
    opacity: float = 0.55


@dataclass(frozen=True)
class Caption:
    """What a card says of a photo: its place in the run, its name and label, the network's answer, its confidence 0..1,
    and the predicted class that is held against the label, or None.
    """

    index: int
    name: str
    label: str | None
    answer: str
    confidence: float | None
    predicted: str | None


class Gallery:
    """Collects the cards of chosen photos as a run goes by.

    Args:
        spec: the program's contract.
        look: how to draw.
        indices: which photos, by their place in the manifest.
    """

    def __init__(self, spec: Spec, look: Look, indices: Collection[int]) -> None:
        self.spec, self.look = spec, look
        self.cells: list[Cell] = []
        self._indices = frozenset(indices)

    def ranges(self, m: MapSpec, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The limits [N, 2] between which maps [N, h, w] are drawn."""
        calibrated = (self.spec.calibration or {}).get(m.name)
        return display_ranges(values, self.look.scale, calibrated, m.kind)

    def add(
        self,
        captions: list[Caption],
        images: npt.NDArray[np.uint8],
        maps: Mapping[str, npt.NDArray[np.float32]],
    ) -> None:
        """Add those of N photos that were chosen.

        Args:
            captions: N of them.
            images: uint8 [N, H, W, C], what the network saw.
            maps: map name → float32 [N, …]; a map that is missing is not drawn.
        """
        chosen = [i for i, caption in enumerate(captions) if caption.index in self._indices]
        if not chosen:
            return
        # Scaled over the batch, a map's colours depend on the photos beside it; otherwise only the chosen are drawn.
        drawn = list(range(len(captions))) if self.look.scale == "batch" else chosen
        pictures = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
        overlays: dict[int, list[tuple[str, npt.NDArray[np.uint8]]]] = {i: [] for i in chosen}
        for m in self.spec.maps:
            if m.name not in maps:
                continue
            title = m.method if m.layer == "input" else f"{m.method} at {m.layer}"
            title += f", class {m.rank}" if m.rank > 1 else ""
            if m.kind == "activations":
                for i in chosen:
                    overlays[i].append((title, channel_mosaic(maps[m.name][i])))
                continue
            calibrated = (self.spec.calibration or {}).get(m.name)
            made = overlay_pictures(
                maps[m.name][drawn],
                pictures[drawn],
                self.look.scale,
                calibrated,
                m.kind,
                self.look.colormap,
                self.look.opacity,
            )
            for i, picture in zip(drawn, made, strict=True):
                if i in overlays:
                    overlays[i].append((title, picture))
        for i in chosen:
            self.cells.append(self._cell(captions[i], pictures[i], overlays[i]))

    def draw(self, title: str, subtitle: str) -> npt.NDArray[np.uint8]:
        """The sheet, uint8 [H, W, 3]."""
        coloured = any(m.kind != "activations" for m in self.spec.maps)
        return contact_sheet(self.cells, title, subtitle, colours=self.look.colormap if coloured else None)

    def _cell(
        self, caption: Caption, picture: npt.NDArray[np.uint8], overlays: list[tuple[str, npt.NDArray[np.uint8]]]
    ) -> Cell:
        sure = "" if caption.confidence is None else f"  {percent(caption.confidence)}"
        label = self.spec.label_name(caption.label)
        mark: Mark | None = None
        if label is not None and caption.predicted is not None:
            mark = "good" if label == caption.predicted else "bad"
        lines = [f"label: {label}"] if label is not None else []
        return Cell(picture, overlays, caption.answer + sure, "\n".join([*lines, caption.name]), mark)


def percent(share: float) -> str:
    """A share 0..1 in whole percent; one that is not quite none or all does not read as if it were."""
    if 0 < share <= 0.005:  # Python rounds a half to the even percent
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"

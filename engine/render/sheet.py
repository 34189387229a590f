"""Contact sheets: photos and their maps side by side in cards, with what the network said below."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from saccade.engine.contract import UsageError

from .colormaps import ColormapName, colormap
from .native import resize
from .text import prepare, shorten, width_of, wrap

U8 = npt.NDArray[np.uint8]
Mark = Literal["good", "bad"]


@dataclass
class Cell:
    """One card of a sheet.

    Attributes:
        picture: the photo, uint8 [H, W, 3], of any size.
        overlays: (name, picture uint8 [H, W, 3]) of each map drawn over the photo.
        title: the prediction and its confidence.
        subtitle: the label, the file's name; each line of it is shortened in its middle to the card's width.
        mark: "good" draws a green tick, "bad" a red cross, None nothing.
    """

    picture: U8
    overlays: list[tuple[str, U8]] = field(default_factory=list)
    title: str = ""
    subtitle: str = ""
    mark: Mark | None = None


Section = tuple[str, str, Sequence[Cell]]
"""(heading, text, cells)."""

_PAGE, _CARD, _EDGE = "#f6f7f9", "#ffffff", "#e3e6ea"
_INK, _SOFT = "#1b1f24", "#626b76"
_GOOD, _BAD = "#1a7f4b", "#c8372d"

_MARGIN, _GUTTER, _PAD, _BETWEEN = 36, 18, 12, 6  # around the page, between cards, in a card, between its pictures
_TITLE, _LEAD, _HEADING, _NAME, _SMALL = 28, 15, 20, 16, 13  # sizes of text
_LINE = 1.4  # line height
_WIDEST, _NARROWEST, _LARGEST = 1800, 560, 60_000  # pixels of the page; JPEG and many viewers end at 65,535


def contact_sheet(
    cells: Sequence[Cell],
    title: str,
    subtitle: str = "",
    columns: int | None = None,
    sections: Sequence[Section] | None = None,
    thumbnail: int = 200,
    colours: ColormapName | str | None = "viridis",
) -> U8:
    """Draw a sheet: a header with a legend, then cards in columns, then each section with its heading and cards.

    Args:
        cells: the cards, in reading order; may be empty.
        title: the header's first line.
        subtitle: smaller text below it, wrapped to the page.
        columns: cards in a row; by default what makes a page that is pleasant to look at.
        sections: more cards, each group under a heading and a text.
        thumbnail: the longer side of each picture in pixels.
        colours: the colormap of the overlays, for the legend; None leaves the legend out.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UsageError: a picture that is not uint8 [H, W, 3], numbers out of range, or more cards than a picture can hold.
    """
    if thumbnail < 32 or thumbnail > 2048:
        raise UsageError(f"sheet: thumbnail must be 32 to 2048 pixels, not {thumbnail}")
    if columns is not None and not 1 <= columns <= 64:
        raise UsageError(f"sheet: columns must be 1 to 64, not {columns}")
    groups: list[Section] = [("", "", cells)] if cells else []
    groups += [section for section in sections or () if section[2] or section[0] or section[1]]
    cards = [_card_width(group, thumbnail) for _, _, group in groups]
    inner = max(
        (
            _row_width(columns or _columns(len(group), card, thumbnail), card, len(group))
            for (_, _, group), card in zip(groups, cards, strict=True)
        ),
        default=0,
    )
    width = max(_NARROWEST, inner + 2 * _MARGIN)
    page = _Page(width, thumbnail)
    page.header(title, subtitle, None if colours is None else colormap(colours))
    for (heading, text, group), card in zip(groups, cards, strict=True):
        page.heading(heading, text)
        # Where the caller leaves it open, a group of narrower cards fills the page that the widest group made.
        page.cards(group, columns or max(1, (width - 2 * _MARGIN + _GUTTER) // (card + _GUTTER)), card)
    if not any(group for _, _, group in groups):
        page.lines(["No photos to show."], _LEAD, _SOFT)
    return page.draw()


def _card_width(cells: Sequence[Cell], thumbnail: int) -> int:
    pictures = max((1 + len(c.overlays) for c in cells), default=1)
    return pictures * thumbnail + (pictures - 1) * _BETWEEN + 2 * _PAD


def _row_width(columns: int, card: int, count: int) -> int:
    columns = min(columns, max(count, 1))
    return columns * card + (columns - 1) * _GUTTER


def _columns(count: int, card: int, thumbnail: int) -> int:
    """As many columns as make the page about 4 : 3, within the widest page, and the last row not near empty."""
    tall = thumbnail + 90

    def dislike(columns: int) -> float:
        rows = -(-count // columns)
        empty = (rows * columns - count) / (rows * columns)
        return abs(np.log(columns * card / (rows * tall) / (4 / 3))) + empty

    most = max(1, (_WIDEST - 2 * _MARGIN + _GUTTER) // (card + _GUTTER))
    return min(range(1, min(most, max(count, 1)) + 1), key=dislike)


class _Page:
    """A page that grows downwards: what is to be drawn is collected, and drawn when its height is known."""

    def __init__(self, width: int, thumbnail: int) -> None:
        self.width = width
        self.thumbnail = thumbnail
        self.y = _MARGIN
        self._texts: list[tuple[int, int, str, int, str]] = []
        self._boxes: list[tuple[int, int, int, int]] = []
        self._pictures: list[tuple[int, int, U8]] = []
        self._marks: list[tuple[int, int, Mark]] = []

    def text(self, x: int, y: int, text: str, size: int, colour: str) -> None:
        self._texts.append((x, y, text, size, colour))

    def lines(self, lines: list[str], size: int, colour: str) -> None:
        for line in lines:
            self.text(_MARGIN, self.y, line, size, colour)
            self.y += round(size * _LINE)

    def header(self, title: str, subtitle: str, colours: U8 | None) -> None:
        bar, (low, high) = 150, ("low evidence", "high")
        legend = width_of(low, _SMALL) + width_of(high, _SMALL) + bar + 16
        inner = self.width - 2 * _MARGIN
        beside = colours is not None and width_of(title, _TITLE) + legend + 40 <= inner
        top = self.y
        self.lines(wrap(title, _TITLE, inner), _TITLE, _INK)
        self.y += 2
        self.lines(wrap(subtitle, _LEAD, inner), _LEAD, _SOFT)
        if colours is not None:
            x = self.width - _MARGIN - legend if beside else _MARGIN
            y = top + 12 if beside else self.y + 10
            self.text(x, y, low, _SMALL, _SOFT)
            x += width_of(low, _SMALL) + 8
            steps = np.linspace(0, 255, bar).round().astype(int)
            self._pictures.append((x, y + 3, np.repeat(colours[steps][None], 10, axis=0)))
            self.text(x + bar + 8, y, high, _SMALL, _SOFT)
            self.y = max(self.y, y + _SMALL + 4)
        self.y += 22

    def heading(self, heading: str, text: str) -> None:
        if not heading and not text:
            return
        self.y += 14
        inner = self.width - 2 * _MARGIN
        self.lines(wrap(heading, _HEADING, inner), _HEADING, _INK)
        self.lines(wrap(text, _LEAD, min(inner, 1000)), _LEAD, _SOFT)  # longer lines are hard to read
        self.y += 12

    def cards(self, cells: Sequence[Cell], columns: int, width: int) -> None:
        if not cells:
            return
        names = {tuple(name for name, _ in c.overlays) for c in cells}
        common = names.pop() if len(names) == 1 else None
        if common:  # every card has the same maps: name them once, above each column
            for column in range(min(columns, len(cells))):
                self._names(_MARGIN + column * (width + _GUTTER) + _PAD, common)
            self.y += round(_SMALL * _LINE) + 4
        for start in range(0, len(cells), columns):
            self._row(cells[start : start + columns], width, named=common is None)
            if self.y > _LARGEST:
                raise UsageError(
                    f"sheet: {len(cells)} cards make a picture of over {_LARGEST} pixels in height; "
                    "show fewer of them, or make several sheets"
                )

    def _names(self, x: int, names: Sequence[str]) -> None:
        for i, name in enumerate(("photo", *names)):
            label = shorten(name, _SMALL, self.thumbnail)
            self.text(x + i * (self.thumbnail + _BETWEEN), self.y, label, _SMALL, _SOFT)

    def _row(self, cells: Sequence[Cell], width: int, named: bool) -> None:
        thumbs = [[self._thumb(p) for p in (c.picture, *(p for _, p in c.overlays))] for c in cells]
        tall = max(t.shape[0] for t in itertools.chain(*thumbs))
        captions = [c.subtitle.split("\n") if c.subtitle else [] for c in cells]
        caption = max(map(len, captions)) * round(_SMALL * _LINE)
        titled = round(_NAME * _LINE) if any(c.title or c.mark for c in cells) else 0
        naming = round(_SMALL * _LINE) + 2 if named else 0
        height = _PAD + naming + tall + (8 if titled or caption else 0) + titled + caption + _PAD
        top = self.y
        for column, cell in enumerate(cells):
            left = _MARGIN + column * (width + _GUTTER)
            self._boxes.append((left, top, left + width, top + height))
            x, self.y = left + _PAD, top + _PAD
            if named:
                self._names(x, [name for name, _ in cell.overlays])
                self.y += naming
            for i, thumb in enumerate(thumbs[column]):
                slot = x + i * (self.thumbnail + _BETWEEN) + (self.thumbnail - thumb.shape[1]) // 2
                self._pictures.append((slot, self.y + (tall - thumb.shape[0]) // 2, thumb))
            self.y += tall + 8
            room = width - 2 * _PAD - (26 if cell.mark else 0)
            self.text(x, self.y, shorten(cell.title, _NAME, room), _NAME, _INK)
            if cell.mark:
                self._marks.append((left + width - _PAD - 18, self.y + 1, cell.mark))
            self.y += titled
            for line in captions[column]:
                self.text(x, self.y, shorten(line, _SMALL, width - 2 * _PAD), _SMALL, _SOFT)
                self.y += round(_SMALL * _LINE)
        self.y = top + height + _GUTTER

    def _thumb(self, picture: U8) -> U8:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise UsageError(
                f"sheet: a card's pictures must be uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}; "
                "give RGB pixels 0..255"
            )
        height, width = picture.shape[:2]
        scale = self.thumbnail / max(height, width)
        return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)), "bicubic")

    def draw(self) -> U8:
        height = max(self.y + _MARGIN - _GUTTER, 2 * _MARGIN)
        image = Image.new("RGB", (self.width, height), _PAGE)
        pen = ImageDraw.Draw(image)
        for left, top, right, bottom in self._boxes:
            pen.rounded_rectangle((left, top, right - 1, bottom - 1), 8, _CARD, _EDGE)
        for x, y, text, size, colour in self._texts:
            line, font = prepare(text, size)
            pen.text((x, y), line, fill=colour, font=font)
        for x, y, mark in self._marks:
            badge = _badge(mark, 18)
            image.paste(badge, (x, y), badge)
        pixels = np.array(image)
        for x, y, picture in self._pictures:
            pixels[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        return pixels


def _badge(mark: Mark, size: int) -> Image.Image:
    """A disc with a tick or a cross, drawn at four times its size, as Pillow's lines have hard edges."""
    big = size * 4
    badge = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    pen = ImageDraw.Draw(badge)
    pen.ellipse((0, 0, big - 1, big - 1), fill=_GOOD if mark == "good" else _BAD)
    strokes = (
        [[(0.27, 0.52), (0.44, 0.69), (0.74, 0.35)]]
        if mark == "good"
        else [[(0.32, 0.32), (0.68, 0.68)], [(0.68, 0.32), (0.32, 0.68)]]
    )
    for stroke in strokes:
        pen.line([(x * big, y * big) for x, y in stroke], fill="white", width=big // 9, joint="curve")
    return badge.resize((size, size), Image.Resampling.LANCZOS)

"""Setting text in pictures with the font that comes with Pillow, so that a sheet looks the same on every machine."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

from PIL import ImageFont

AnyFont = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font has little beyond ASCII. Text that it lacks is set in the first of these that the machine has and
# that has all of the text; where none does, it is spelt in ASCII as well as may be.
_FALLBACKS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "wqy-microhei.ttc",
)
_SPELLINGS = str.maketrans(
    {"–": "-", "—": "-", "→": "->", "ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "đ": "d"}
)


@functools.lru_cache(maxsize=32)
def _own_font(size: int) -> AnyFont:
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=64)
def _machine_font(name: str, size: int) -> AnyFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _has(font: AnyFont, character: str) -> bool:
    try:
        return _dots(font, character) != _dots(font, "\uffff")  # U+FFFF is never a character
    except UnicodeError:
        return False


def _dots(font: AnyFont, character: str) -> bytes:
    mask: Any = font.getmask(character)
    return bytes(mask)


def _covers(font: AnyFont, text: str) -> bool:
    return all(" " <= c <= "~" or _has(font, c) for c in text)


def prepare(text: str, size: int) -> tuple[str, AnyFont]:
    """The text as it can be drawn, on one line, and the font to draw it with. Takes any string there is."""
    whole = text.encode("utf-8", "replace").decode("utf-8")  # a file name may hold bytes that are no text
    line = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", whole))
    own = _own_font(size)
    if _covers(own, line):
        return line, own
    for name in _FALLBACKS:
        font = _machine_font(name, size)
        if font is not None and _covers(font, line):
            return line, font
    return _spelt(line, own), own


def _spelt(line: str, font: AnyFont) -> str:
    def spell(c: str) -> str:
        if _covers(font, c):
            return c
        plain = "".join(p for p in unicodedata.normalize("NFKD", c) if not unicodedata.combining(p))
        return plain if plain and _covers(font, plain) else "?"

    return "".join(spell(c) for c in line.translate(_SPELLINGS))


def width_of(text: str, size: int) -> int:
    """How wide the text is in pixels, rounded up."""
    line, font = prepare(text, size)
    return -int(-font.getlength(line) // 1)


def shorten(text: str, size: int, width: int) -> str:
    """The text, or its beginning and end with … between them, so that it is at most `width` pixels wide.

    A file name tells its photo apart by its end and its folder by its beginning; a prediction ends in its confidence.
    """
    if width_of(text, size) <= width:
        return text
    low, high = 0, len(text) - 1
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if width_of(_cut(text, kept), size) <= width else (low, kept - 1)
    return _cut(text, low)


def _cut(text: str, kept: int) -> str:
    return text[: (kept + 1) // 2] + "…" + (text[-(kept // 2) :] if kept > 1 else "")


def wrap(text: str, size: int, width: int) -> list[str]:
    """The text in lines of at most `width` pixels; a newline starts a new one, a word that is too wide is shortened."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if line and width_of(longer, size) > width:
                lines.append(line)
                line = shorten(word, size, width)
            else:
                line = longer if line else shorten(word, size, width)
        if line:
            lines.append(line)
    return lines

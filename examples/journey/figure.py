"""A figure: rows of pictures with captions, as HTML for the page and the notebook, and as one picture."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from saccade.engine import render

U8 = npt.NDArray[np.uint8]

RANDOM = "random weights"


@dataclass(frozen=True)
class Picture:
    """One picture of a row.

    Attributes:
        pixels: uint8 [H, W, 3].
        caption: below it.
        exact: stored without loss, for pictures whose pixels are values.
    """

    pixels: U8
    caption: str = ""
    exact: bool = False


@dataclass(frozen=True)
class Row:
    """Pictures side by side, under a heading; `trained` False says so beside it."""

    heading: str
    pictures: Sequence[Picture]
    trained: bool = True


@dataclass(frozen=True)
class Figure:
    """A figure of the article.

    Attributes:
        name: of its file and its anchor.
        title: one line.
        caption: a few sentences: what is shown, and how to read it.
        rows: from the top; none of a figure that cannot be drawn here, whose caption then says why.
        colours: the colormap of its maps, for the legend; None for none.
        side: the largest width of a picture on the page, in pixels.
    """

    name: str
    title: str
    caption: str
    rows: Sequence[Row] = field(default_factory=list)
    colours: str | None = None
    side: int = 260

    def to_html(self, number: int | None = None) -> str:
        """One `<figure>`, its pictures inside."""
        body = "".join(_row(row, self.side) for row in self.rows)
        lead = f"Figure {number}. " if number else ""
        legend = _legend(self.colours) if self.colours and self.rows else ""
        return (
            f'<figure id="{self.name}">{body}<figcaption><strong>{lead}{html.escape(self.title)}.</strong> '
            f"{html.escape(self.caption)}{legend}</figcaption></figure>"
        )

    def _repr_html_(self) -> str:
        return f'<div class="journey"><style>{FIGURE_STYLE}</style>{self.to_html()}</div>'

    def sheet(self) -> U8:
        """The same as a contact sheet, uint8 [H, W, 3]: for slides, and where there is no browser."""
        sections = []
        for row in self.rows:
            heading = row.heading if row.trained else f"{row.heading} ({RANDOM})".strip()
            sections.append((heading, "", [render.Cell(p.pixels, title=p.caption) for p in row.pictures]))
        wide = max((len(row.pictures) for row in self.rows), default=1)
        return render.contact_sheet(
            [], self.title, self.caption, columns=wide, sections=sections, thumbnail=self.side, colours=self.colours
        )


def data_uri(pixels: U8, exact: bool = False) -> str:
    """A picture inside the page: JPEG, or PNG where every pixel counts."""
    stored = io.BytesIO()
    picture = Image.fromarray(pixels)
    if exact:
        grey = bool((pixels[..., :1] == pixels).all())
        (picture.convert("L") if grey else picture).save(stored, "PNG", optimize=True)
    else:
        picture.save(stored, "JPEG", quality=88, subsampling=0)
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stored.getvalue()).decode()}"


def _row(row: Row, side: int) -> str:
    tag = "" if row.trained else f' <span class="tag">{RANDOM}</span>'
    heading = f"<h4>{html.escape(row.heading)}{tag}</h4>" if row.heading or tag else ""
    cells = "".join(_cell(p, row.heading) for p in row.pictures)
    many = len(row.pictures)
    style = f"--n:{many};--m:{many if many < 4 else 2};max-width:{many * (side + 12)}px"
    return f'<section>{heading}<div class="cells" style="{style}">{cells}</div></section>'


def _cell(picture: Picture, heading: str) -> str:
    height, width = picture.pixels.shape[:2]
    below = f"<span>{html.escape(picture.caption)}</span>" if picture.caption else ""
    source = data_uri(picture.pixels, picture.exact)
    alt = html.escape(": ".join(filter(None, (heading, picture.caption))), quote=True)
    return f'<div><img src="{source}" width="{width}" height="{height}" alt="{alt}">{below}</div>'


def _legend(colours: str) -> str:
    bar = data_uri(np.ascontiguousarray(render.colormap(colours)[None]), exact=True)
    return f'<span class="legend">little <img src="{bar}" alt="" width="256" height="1"> much</span>'


FIGURE_STYLE = """
.journey figure { margin: 2.2rem 0; }
.journey figure section { margin: 0 0 .9rem; }
.journey h4 { margin: 0 auto .35rem; font-size: .95rem; font-weight: 600; text-align: center; }
.journey .tag { font-size: .75rem; font-weight: 600; padding: .1em .6em; border-radius: 1em; white-space: nowrap;
  color: #7a4a00; background: #ffe9c2; }
.journey .cells { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: .75rem; margin: 0 auto; }
.journey .cells div { display: flex; flex-direction: column; }
.journey .cells img { width: 100%; height: auto; display: block; border-radius: 6px; margin: 0; }
.journey .cells span { font-size: .85rem; line-height: 1.3; text-align: center; padding: .3rem .1rem 0; opacity: .8; }
.journey figcaption { font-size: .9rem; line-height: 1.5; max-width: 44rem; margin: .6rem auto 0; opacity: .85; }
.journey .legend { white-space: nowrap; margin-left: .6em; font-size: .8rem; }
.journey .legend img { display: inline-block; width: 6rem; height: .6rem; border-radius: 2px; }
@media (max-width: 600px) {
  .journey .cells { grid-template-columns: repeat(var(--m), minmax(0, 1fr)); gap: .5rem; }
  .journey .cells span { font-size: .75rem; }
}
@media (prefers-color-scheme: dark) { .journey .tag { color: #ffd899; background: #4a3200; } }
"""

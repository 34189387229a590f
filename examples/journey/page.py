"""The article as one page that needs nothing else: no server, no script, no other file."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from . import classic, unusual
from .figure import FIGURE_STYLE, Figure
from .networks import Journey

Draw = Callable[[Journey], Figure]

STYLE = """
:root { color-scheme: light dark; --page: #fbfaf7; --ink: #22201c; --soft: #6b665c; --rule: #e2ded4; --link: #1f5f8b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16171a; --ink: #e4e2dc; --soft: #9a978f; --rule: #303238; --link: #7fb8e0; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1.06rem/1.65 Charter, "Bitstream Charter",
  "Sitka Text", Cambria, Georgia, serif; }
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.2rem 5rem; }
header, main p, h2, nav { max-width: 40rem; margin-left: auto; margin-right: auto; }
h1 { font-size: clamp(2rem, 6vw, 3rem); line-height: 1.1; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.6rem; line-height: 1.2; margin-top: 3.5rem; padding-top: 1.6rem; border-top: 1px solid var(--rule); }
header p { font-size: 1.2rem; color: var(--soft); margin: 0; }
nav { font: .9rem/1.9 system-ui, sans-serif; margin-top: 1.4rem; }
nav a { margin-right: 1.1em; white-space: nowrap; }
a { color: var(--link); text-underline-offset: .15em; }
figure, .tag { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
footer { max-width: 40rem; margin: 4rem auto 0; color: var(--soft); font: .85rem/1.5 system-ui, sans-serif; }
"""


STORY = Path(__file__).with_name("story.html")
"""The article: HTML with <figure>NAME</figure> where the figure of that function goes."""

_FIGURE = re.compile(r"<figure>(\w+)</figure>")
_HEADING = re.compile(r"<h2>(.*?)</h2>")


def drawings() -> dict[str, Draw]:
    """The functions that draw, by name, in the order of reading."""
    names = _FIGURE.findall(STORY.read_text(encoding="utf-8"))
    return {name: getattr(classic, name, None) or getattr(unusual, name) for name in names}


def page(drawn: Mapping[str, Figure], footer: str) -> str:
    """The whole page, HTML.

    Args:
        drawn: figures by the name of their function; one that is missing is left out.
        footer: plain text.
    """
    body = STORY.read_text(encoding="utf-8")
    headings = _HEADING.findall(body)
    title = re.findall(r"<h1>(.*?)</h1>", body)[0]
    parts = iter(range(len(headings)))
    body = _HEADING.sub(lambda found: f'<h2 id="part-{next(parts)}">{found[1]}</h2>', body)
    contents = "".join(f'<a href="#part-{i}">{heading}</a> ' for i, heading in enumerate(headings))
    body = body.replace("</header>", f"</header>\n<nav>{contents}</nav>", 1)
    numbers = itertools.count(1)
    body = _FIGURE.sub(lambda found: drawn[found[1]].to_html(next(numbers)) if found[1] in drawn else "", body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}{FIGURE_STYLE}</style>\n</head>\n"
        f'<body class="journey">\n<main>\n{body}\n<footer>{html.escape(footer)}</footer>\n</main>\n</body>\n</html>\n'
    )

"""`python -m examples.journey -o journey/`: draws every figure and writes journey/index.html."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from saccade.engine.contract import replacing

from .figure import Figure
from .networks import DATA, UNET, Journey
from .page import drawings, page


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="journey", description="The article, as one page with its pictures inside.")
    parser.add_argument("-o", "--out", type=Path, default=Path("journey"), help="the folder of index.html")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with photos/, weights/ and mri/")
    parser.add_argument("--unet", type=Path, default=UNET, help="the U-Net's weights, from examples/unet_mri")
    parser.add_argument("--programs", type=Path, help="keep the compiled programs here, and use those that are there")
    parser.add_argument("--sheets", action="store_true", help="also a contact sheet of each figure, OUT/NN-NAME.png")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these figures alone")
    parser.add_argument("--quick", action="store_true", help="trained networks alone, on smaller pictures")
    given = parser.parse_args(words)
    if not (given.data / "photos" / "article").is_dir():
        parser.error(f"--data {given.data}: there is no photos/article in it")

    start = time.monotonic()
    journey = Journey(given.data, given.unet, given.programs, given.quick)
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = {name: draw for name, draw in drawings().items() if given.only is None or name in given.only}
    drawn: dict[str, Figure] = {}
    for i, (name, draw) in enumerate(wanted.items(), 1):
        began = time.monotonic()
        figure = drawn[name] = draw(journey)
        if given.sheets and figure.rows:
            with replacing(given.out / f"{i:02}-{name}.png") as path:
                Image.fromarray(figure.sheet()).save(path, "PNG")
        print(f"[{i:2}/{len(wanted)}] {figure.title}  {time.monotonic() - began:.1f} s", flush=True)
    footer = (
        "Made by examples/journey of Saccade; what differs from the article it retraces, and why: docs/article.md. "
        "The photos are that article's, by Francesco Saverio Zuppichini, MIT licence."
    )
    with replacing(given.out / "index.html") as path:
        Path(path).write_text(page(drawn, footer), encoding="utf-8")
    size = (given.out / "index.html").stat().st_size / 1e6
    print(f"{given.out / 'index.html'}  {size:.1f} MB, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

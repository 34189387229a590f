"""Write colormaps.js from the project's own colour tables: `python examples/browser/write_colormaps.py`."""

from __future__ import annotations

from pathlib import Path

from saccade.engine.render.colormaps import colormap, colormap_names

TARGET = Path(__file__).with_name("colormaps.js")


def text() -> str:
    """The module: each table as 256 colours of six hexadecimal digits, unpacked when it is imported."""
    lines = [
        "// The project's colour tables (csrc/cpu/colormaps.inc, where their sources and licences are), written by",
        "// write_colormaps.py. Each is uint8 [256, 3].",
        "const packed = {",
    ]
    for name in colormap_names():
        digits = colormap(name).tobytes().hex()
        lines.append(f"  {name}:")
        pieces = [digits[i : i + 108] for i in range(0, len(digits), 108)]
        lines += [f'    "{piece}" +' for piece in pieces[:-1]] + [f'    "{pieces[-1]}",']
    lines += [
        "};",
        "",
        "const unpack = (digits) => Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));",
        "export const COLORMAPS = Object.fromEntries(",
        "  Object.entries(packed).map(([name, digits]) => [name, unpack(digits)])",
        ");",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())

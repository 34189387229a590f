"""The article as a page and as a notebook."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.journey import Journey, classic, networks, unusual
from examples.journey.figure import RANDOM, Figure, Picture, Row
from examples.journey.page import drawings, page

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "journey.ipynb"


def code_cells() -> list[str]:
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_calls_the_pages_figures_in_the_pages_order():
    called = re.findall(r"^(?:classic|unusual)\.(\w+)\(journey\)", "\n".join(code_cells()), re.MULTILINE)
    assert called == list(drawings())


def test_the_page_needs_nothing_but_itself():
    pixels = np.zeros((40, 60, 3), np.uint8)
    rows = [Row("AlexNet <1>", [Picture(pixels, "a & b"), Picture(pixels, exact=True)], trained=False)]
    drawn = {name: Figure(name, "Title", "Caption", rows, "viridis") for name in drawings()}
    made = page(drawn, "the end")
    assert made.count("<figure") == len(drawn)
    assert f"Figure {len(drawn)}. Title" in made
    assert not re.search(r"<(script|link|iframe)", made)
    assert {source[:11] for source in re.findall(r'src="([^"]*)"', made)} == {"data:image/"}
    assert "AlexNet &lt;1&gt;" in made
    assert "a &amp; b" in made
    assert made.count(f'<span class="tag">{RANDOM}</span>') == len(drawn) + 1  # and where the text explains it
    assert 'width="60" height="40"' in made
    assert "prefers-color-scheme: dark" in made


def test_a_figure_shows_itself_in_a_notebook_and_as_a_sheet():
    figure = Figure("one", "Title", "Caption", [Row("row", [Picture(np.zeros((40, 60, 3), np.uint8), "a")])])
    assert figure._repr_html_().startswith('<div class="journey"><style>')
    assert figure.sheet().shape[2] == 3


def test_no_photo_is_stretched():
    wide = np.zeros((63, 120, 3), np.uint8)
    wide[16:48, 44:76] = 200  # a square
    for made in (networks.square(wide, 224), networks.cut(wide, 64, 80)):
        rows, columns = (np.flatnonzero((made[..., 0] == 200).any(axis=axis)) for axis in (1, 0))
        assert abs(len(rows) - len(columns)) <= 1
        assert len(rows) > 10


def test_what_is_cut_out_is_where_the_map_is_high():
    cam = np.array([[0, 0.29], [0.31, 1]], np.float32)
    photo = np.full((2, 2, 3), 255, np.uint8)
    assert classic.crop(cam, photo)[..., 0].tolist() == [[40, 40], [255, 255]]


def test_an_outline_is_the_masks_edge():
    mask = np.zeros((20, 20), bool)
    mask[4:16, 4:16] = True
    drawn = unusual.outline(np.zeros((20, 20, 3), np.uint8), mask)[..., 0] == 255
    assert drawn[4:7, 4:16].all()
    assert not drawn[7:13, 7:13].any()
    assert not drawn[~mask].any()


def test_a_u_net_without_weights_is_one_line():
    figure = unusual.unet(Journey(unet=None, quick=True))
    assert figure.rows == []
    assert "--unet FILE" in figure.caption


def test_a_u_nets_region_is_explained(tmp_path: Path):
    module = pytest.importorskip("examples.unet_mri.network")
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(module.unet().state_dict(), tmp_path / "unet.safetensors")
    (tmp_path / "mri").mkdir()
    random = np.random.default_rng(0)
    for patient in ("A_1", "B_2"):
        slice_ = random.integers(0, 255, (128, 128)).astype(np.uint8)
        mask = np.zeros_like(slice_)
        mask[30:60, 50:90] = 255
        Image.fromarray(slice_).save(tmp_path / "mri" / f"{patient}_2000_3.png")
        Image.fromarray(mask).save(tmp_path / "mri" / f"{patient}_2000_3_mask.png")
    figure = unusual.unet(Journey(tmp_path, tmp_path / "unet.safetensors", quick=True))
    assert [len(row.pictures) for row in figure.rows] == [2, 2, 2]
    white = (figure.rows[1].pictures[0].pixels == 255).all(axis=2)
    assert white[30 * 4, 51 * 4 : 89 * 4].all()


@pytest.mark.slow
@pytest.mark.data
def test_the_notebook_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch):
    if not (networks.DATA / "photos" / "article").is_dir():
        pytest.skip("the shared photos are not here")
    monkeypatch.chdir(NOTEBOOK.parent)
    space: dict[str, Any] = {}
    shown = 0
    for source in code_cells():
        source = source.replace("quick=False", "quick=True")
        last = ast.parse(source).body[-1]
        if not isinstance(last, ast.Expr):
            exec(source, space)
        else:  # a cell of one expression, whose value the notebook shows
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), space)
            assert isinstance(value, Figure)
            assert "<figure" in value._repr_html_()
            shown += 1
    assert shown == len(drawings())

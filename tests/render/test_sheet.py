import numpy as np
import pytest

from saccade.engine import render
from saccade.engine.contract import UsageError
from saccade.engine.render import text

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(colour: tuple[int, int, int], height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def card(**changes: object) -> render.Cell:
    return render.Cell(
        **{
            "picture": picture(RED),
            "overlays": [("grad-cam", picture(BLUE))],
            "title": "cat 93 %",
            "subtitle": "label: dog\nphotos/0001.jpg",
            "mark": "bad",
            **changes,
        }
    )


def area(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == colour).all(-1).sum())


def test_every_picture_is_shown_at_the_thumbnails_size():
    sheet = render.contact_sheet([card() for _ in range(5)], "Title", thumbnail=100)
    assert area(sheet, RED) == area(sheet, BLUE) == 5 * 100 * 100


def test_pictures_keep_their_shape():
    sheet = render.contact_sheet([card(picture=picture(RED, 50, 100), overlays=[])], "Title", thumbnail=100)
    assert area(sheet, RED) == 50 * 100


def test_sections_come_after_the_cells_and_may_have_other_maps():
    plain = card(picture=picture(BLUE), overlays=[])
    sheet = render.contact_sheet([card(overlays=[])], "Title", sections=[("Heading", "Text", [plain, card()])])
    first_red = np.argwhere((sheet == RED).all(-1))[0][0]
    first_blue = np.argwhere((sheet == BLUE).all(-1))[0][0]
    assert first_red < first_blue
    assert area(sheet, RED) == area(sheet, BLUE) == 2 * 200 * 200


def test_columns_are_kept_to():
    wide = render.contact_sheet([card() for _ in range(6)], "Title", columns=6)
    tall = render.contact_sheet([card() for _ in range(6)], "Title", columns=1)
    assert wide.shape[1] > 6 * 400
    assert tall.shape[0] > 6 * 200


def test_nothing_to_show_is_a_sheet_too():
    assert render.contact_sheet([], "Title").shape[1] >= 500


def test_the_legend_shows_the_colormap():
    with_legend = render.contact_sheet([card()], "Title", colours="inferno")
    assert (with_legend == render.colormap("inferno")[200]).all(-1).any()
    assert not (render.contact_sheet([card()], "Title", colours=None) == render.colormap("viridis")[200]).all(-1).any()


def test_marks_are_drawn():
    plain, good, bad = (render.contact_sheet([card(mark=m)], "Title") for m in (None, "good", "bad"))
    assert area(good, (26, 127, 75)) > 20
    assert area(bad, (200, 55, 45)) > 20
    assert area(plain, (26, 127, 75)) == area(plain, (200, 55, 45)) == 0


@pytest.mark.parametrize("name", ["São Paulo", "日本語の猫", "кот", "a\tb\x00c", "\udcff.jpg", "👩‍🔬", "x" * 5000, ""])
def test_no_name_breaks_a_sheet(name: str):
    sheet = render.contact_sheet([card(title=name, subtitle=name)], name, name, sections=[(name, name, [card()])])
    assert sheet.shape[1] < 2000


def test_long_names_are_cut_in_their_middle():
    name = "photos/2024/holiday/mountains/IMG_20240713_101502.jpg"
    short = text.shorten(name, 13, 160)
    start, end = short.split("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert len(start) > 3
    assert len(end) > 3
    assert text.width_of(short, 13) <= 160
    assert text.shorten("a.jpg", 13, 160) == "a.jpg"


def test_wrapping_keeps_the_words_and_the_width():
    words = "evidence lies outside of the object in these photos " * 4
    lines = text.wrap(words, 15, 300)
    assert " ".join(lines).split() == words.split()
    assert max(text.width_of(line, 15) for line in lines) <= 300
    assert text.wrap("one\ntwo", 15, 300) == ["one", "two"]


def test_accents_are_spelt_where_no_font_has_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text, "_FALLBACKS", ())
    assert text.prepare("São Paulo – Straße → 日", 13)[0] == "Sao Paulo - Strasse -> ?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": 0}, "columns must be 1 to 64, not 0"),
        ({"thumbnail": 5}, "thumbnail must be 32 to 2048"),
        ({"cells": [card(picture=np.zeros((4, 4), np.uint8))]}, r"uint8 \[H, W, 3\], not uint8 \[4, 4\]"),
        ({"cells": [card(picture=np.zeros((4, 4, 3)))]}, "not float64"),
        ({"cells": [card()] * 200, "columns": 1, "thumbnail": 400}, "show fewer"),
    ],
)
def test_wrong_requests(arguments: dict, message: str):
    with pytest.raises(UsageError, match=message):
        render.contact_sheet(**{"cells": [card()], "title": "Title", **arguments})

"""What a person sees and does: photos and programs dropped, the controls, what is said of bad files."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import saccade
from saccade.engine import decode, render
from saccade.engine.render import reference

U8 = npt.NDArray[np.uint8]
Call = Callable[..., Any]
Picture = Callable[[Any], U8]
Drop = Callable[..., None]


@pytest.fixture
def picture(call: Call, unpacked: Call) -> Picture:
    """`picture(page)`: the first card's canvas, uint8 [H, W, 3]."""
    script = """
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));  // it is drawn then
      const canvas = document.querySelector(".card canvas");
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [to64(data), height, width];
    """

    def see(page: Any) -> U8:
        text, height, width = call(page, script)
        return unpacked(text).reshape(height, width, 4)[..., :3]

    return see


def slide(page: Any, name: str, value: int) -> None:
    page.locator(f"#{name}").fill(str(value))


@pytest.fixture
def drop(call: Call) -> Drop:
    """`drop(page, cat_jpg=…)`: files dropped onto the page as from the desktop; the last _ of a name is its dot."""
    script = """
      const data = new DataTransfer();
      for (const [name, text] of files) data.items.add(new File([from64(text)], name));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    """

    def let_go(page: Any, **files: bytes) -> None:
        named = [[".".join(n.rsplit("_", 1)), base64.b64encode(d).decode()] for n, d in files.items()]
        call(page, script, files=named)

    return let_go


def wait_for_photos(page: Any, count: int) -> None:
    page.wait_for_selector(f"#progress:text-is('{count} photo{'s' * (count != 1)}')", timeout=30_000)


class TestPage:
    def test_a_photo_and_the_controls(
        self, drop: Drop, picture: Picture, open_page: Call, compiled: dict[str, Path], photos: Path
    ) -> None:
        problems: list[str] = []
        page = open_page(compiled["onnx"], problems=problems)
        assert "Sequential" in page.inner_text("#facts")
        file = next((photos / "red").glob("*.png"))
        drop(page, red_png=file.read_bytes())
        wait_for_photos(page, 1)
        assert page.locator(".answers .name").all_text_contents()[0] == "red"
        assert page.locator(".answers input").first.is_checked()
        seen = {"first": picture(page)}
        slide(page, "threshold", 90)
        assert page.inner_text("output[for=threshold]") == "90\u202f%"
        seen["threshold"] = picture(page)
        slide(page, "threshold", 0)
        seen["all"] = picture(page)
        page.select_option("#colormap", "gray")
        seen["gray"] = picture(page)
        slide(page, "opacity", 0)
        seen["photo"] = picture(page)
        page.select_option("#map", "saliency")
        slide(page, "opacity", 100)
        seen["saliency"] = picture(page)
        pictures = list(seen.values())
        for i, one in enumerate(pictures):
            assert all((one != other).any() for other in pictures[:i])
        upright = decode.read_upright(file)
        inside = slice(0, 64), slice(20, 76)
        np.testing.assert_array_equal(seen["photo"][inside], upright[inside])
        assert (np.ptp(seen["saliency"][inside], axis=2) == 0).all()
        assert problems == []

    def test_another_class(self, picture: Picture, open_page: Call, compiled: dict[str, Path], photos: Path) -> None:
        page = open_page(compiled["onnx"])
        page.set_input_files("#photo-files", str(next((photos / "red").glob("*.png"))))
        wait_for_photos(page, 1)
        before = picture(page)
        page.locator(".answers label", has_text="bright").click()
        page.wait_for_selector(".card canvas[aria-label*='what speaks for bright']")
        assert (picture(page) != before).any()

    def test_the_region_above_the_threshold(self, open_page: Call, compiled: dict[str, Path], tmp_path: Path) -> None:
        """Its box and area, for a bright square in the upper left quarter, in the photo's pixels."""
        pixels = np.random.default_rng(2).integers(0, 90, (96, 120, 3), dtype=np.uint8)
        pixels[12:48, 24:60] = 255
        path = tmp_path / "corner.png"
        Image.fromarray(pixels).save(path)
        program = saccade.load(compiled["onnx"], device="cpu")
        maps = program(program.view(path)).grad_cam
        indices = reference.index_maps(maps, render.display_ranges(maps), (32, 32))[0]
        left, top, right, bottom = decode.read_view(path, program.spec.preprocessing, "exact").rectangle
        page = open_page(compiled["onnx"])
        page.set_input_files("#photo-files", str(path))
        wait_for_photos(page, 1)
        areas = []
        for percent, lowest in ((20, 51), (60, 153), (80, 204)):
            slide(page, "threshold", percent)
            page.wait_for_selector(f".region:has-text('{percent}\u202f%')")
            rows, columns = np.nonzero(indices >= lowest)
            areas.append(len(rows) / indices.size)
            x, y = left + (right - left) * columns.min() / 32, top + (bottom - top) * rows.min() / 32
            width = (right - left) * (np.ptp(columns) + 1) / 32
            height = (bottom - top) * (np.ptp(rows) + 1) / 32
            share = f"{100 * areas[-1]:.0f}\u202f% of the view"
            said = page.inner_text(".region")
            assert f": {share}, {width:.0f}×{height:.0f} at ({x:.0f}, {y:.0f})" in said, said
        assert areas[0] > areas[1] > areas[2] > 0
        assert indices.max() < 255, "between its cells the map's peak is not met"
        slide(page, "threshold", 100)
        page.wait_for_selector(".region:text-is('Nothing reaches 100\u202f% of the scale.')")

    def test_bad_files_are_told_in_one_line_and_the_others_shown(
        self, drop: Drop, open_page: Call, compiled: dict[str, Path], photos: Path
    ) -> None:
        page = open_page(compiled["onnx"])
        good = next(photos.rglob("*.png")).read_bytes()
        bomb = bytearray(good)
        bomb[16:24] = (60_000).to_bytes(4, "big") * 2
        drop(page, good_png=good, notes_txt=b"hello", empty_jpg=b"", cut_png=good[:900], bomb_png=bytes(bomb))
        wait_for_photos(page, 1)
        said = page.locator("#messages li span").all_text_contents()
        assert sorted(line.split()[1] for line in said) == ["bomb.png", "cut.png", "empty.jpg", "notes.txt"]
        words = {"bomb": "too large (60000×60000", "cut": "truncated", "empty": "0 bytes", "notes": "not a JPEG"}
        for line in said:
            assert words[line.split()[1].split(".")[0]] in line
            assert "\n" not in line
        page.locator("#messages button").first.click()
        assert page.locator("#messages li").count() == 3

    def test_programs_are_dropped_and_bad_ones_leave_the_one_before(
        self, drop: Drop, open_page: Call, compiled: dict[str, Path], photos: Path
    ) -> None:
        import onnx

        data = compiled["onnx"].read_bytes()
        page = open_page(None, "absent")
        assert "saccade compile" in page.inner_text("#program-says")
        drop(page, red_png=next((photos / "red").glob("*.png")).read_bytes())
        drop(page, cut_onnx=data[:-100])
        page.wait_for_selector("#messages li:has-text('cut short')")
        drop(page, good_onnx=data)
        wait_for_photos(page, 1)
        assert page.locator(".answers .name").first.text_content() == "red"
        model = onnx.load_from_string(data)
        del model.metadata_props[:]
        for name, content, words in (
            ("model_onnx", model.SerializeToString(), "it is a model, not a program"),
            ("text_onnx", b"hello", "no ONNX file"),
            ("archive_pt2", b"PK\x03\x04", "--to onnx"),
        ):
            drop(page, **{name: content})
            page.wait_for_selector(f"#messages li:has-text('{words}')")
            page.wait_for_selector("#program[data-state=open]")
        assert page.locator(".card.seen").count() == 1

    def test_a_damaged_program_beside_the_page(self, open_page: Call, program: Path, tmp_path: Path) -> None:
        data = bytearray(program.read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "damaged.onnx").write_bytes(data)
        page = open_page(tmp_path / "damaged.onnx", "failed")
        assert page.inner_text("#program-says").startswith("load: program.onnx is damaged")

    def test_without_onnxruntime_web(self, open_page: Call, compiled: dict[str, Path]) -> None:
        page = open_page(compiled["onnx"], "failed", runtime=False)
        assert "npm ci" in page.inner_text("#program-says")

    @pytest.mark.parametrize("width", [390, 768, 1280])
    def test_it_fits_its_width(self, open_page: Call, compiled: dict[str, Path], photos: Path, width: int) -> None:
        page = open_page(compiled["onnx"], width=width)
        page.set_input_files("#photo-files", [str(p) for p in photos.rglob("*.png")])
        wait_for_photos(page, 7)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_by_keyboard(self, open_page: Call, compiled: dict[str, Path], photos: Path) -> None:
        page = open_page(compiled["onnx"])
        page.set_input_files("#photo-files", str(next(photos.rglob("*.png"))))
        wait_for_photos(page, 1)
        reached = []
        for _ in range(14):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    "(document.activeElement.id || document.activeElement.className || document.activeElement.type)"
                )
            )
        for wanted in (
            "program-file",
            "photo-files",
            "map",
            "colormap",
            "opacity",
            "threshold",
            "clear",
            "remove",
            "radio",
        ):
            assert wanted in reached, reached

"""The page in a real browser, opened as a file: what it shows, what it asks for, and that nothing in the data runs."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from saccade.audit import evidence as evidence_of
from saccade.audit import report
from saccade.audit.evidence import Evidence
from saccade.audit.findings import Findings
from saccade.engine import sinks

MakeRun = Callable[..., Path]
MakeFindings = Callable[..., Findings]
HOSTILE = "<img src=x onerror=alert(1)>.jpg"


@pytest.fixture
def woods(make_run: MakeRun, tmp_path: Path) -> Evidence:
    """A run of 40 images in four sizes of evidence; images 0 to 9 have no label, 39 has an error."""
    predicted: list[int | None] = [i % 2 for i in range(39)]
    labels = [None] * 10 + ["tank" if i % 3 else "woods" for i in range(10, 40)]
    maps = np.random.default_rng(0).random((40, 12, 12)).astype(np.float32)
    maps[5] = 0
    names = [f"set/{HOSTILE}" if i == 3 else f"set/photo-{i:03}.jpg" for i in range(40)]
    brightness = [((i * 7) % 40) / 40 for i in range(40)]
    run = make_run([*predicted, None], maps=maps, labels=labels, names=names, attributes={"brightness": brightness})
    return evidence_of.read(run)


def write(evidence: Evidence, findings: Findings, path: Path, pictured: bool = True) -> Path:
    rows = report.rows_wanted(findings, evidence) if pictured else []
    shades = np.linspace(0, 255, len(evidence)).astype(np.uint8)
    views = ((row, np.full((32, 32, 3), shades[row], np.uint8)) for row in rows)
    numbers = np.where(evidence.predicted < 0, -1, 1 + np.arange(len(evidence)) % 2).astype(np.int16)
    report.write(path, findings, evidence, views, numbers)
    return path


def names_in(page: Any) -> list[str]:
    """The names of the rows in sight, from the top."""
    return page.evaluate("[...document.querySelectorAll('.images tbody th')].map((cell) => cell.textContent)")


def column_in(page: Any, title: str) -> list[str]:
    place = page.evaluate(
        "[...document.querySelectorAll('.images thead th')].map((h) => h.innerText.trim().split(' ↓')[0])"
    )
    assert title in place, place
    script = (
        "(i) => [...document.querySelectorAll('.images tbody tr[data-place]')].map((r) => r.children[i].textContent)"
    )
    return page.evaluate(script, place.index(title))


def colour_at(page: Any, selector: str, x: float, y: float) -> list[int]:
    """Red, green, blue of what is seen at a place of an element, in shares of its sides."""
    seen = Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB")
    return list(seen.getpixel((int(x * seen.width), int(y * seen.height))))  # pyright: ignore[reportArgumentType]


class TestPage:
    def test_says_its_verdict_and_no_error(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        problems: list[str] = []
        findings = make_findings(woods, suspects=2, notes=("Nobody gave masks.",))
        page = open_page(write(woods, findings, tmp_path / "report.html"), problems=problems)
        assert page.inner_text("h1").startswith("The network takes 2 shortcuts: the sky 0 for “tank”")
        assert "Nobody gave masks." in page.inner_text("#notes")
        card = page.locator(".card").first
        assert "In 94 % of “tank” images" in card.inner_text()
        assert "91\u202f%" in card.inner_text()
        assert "3\u202f%" in card.inner_text()
        card.locator("summary").click()
        card.get_by_text("It is the same place in every image.").wait_for(timeout=5000)
        assert "<0.001" in card.inner_text()
        assert "−88" in card.inner_text()
        page.wait_for_timeout(300)
        # The photo of image 0 is gone from its place: that alone may be said.
        assert [p for p in problems if "ERR_FILE_NOT_FOUND" not in p] == []

    def test_before_and_after_with_the_region_outlined(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods, suspects=1), tmp_path / "report.html"))
        page.locator(".pair").first.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        before, after = ".pair figure:first-child canvas", ".pair figure:last-child canvas"
        assert min(colour_at(page, before, 0.5, 0.8)[:3]) > 240
        assert max(colour_at(page, after, 0.5, 0.8)[:3]) < 30
        # The region is the upper half: its lower border is white over the dark picture.
        assert min(colour_at(page, after, 0.5, 0.5)[:3]) > 240
        assert page.locator(".pair").first.inner_text().replace("\u202f", "").split() == [
            *("before", "tank", "“tank”", "98%", "→", "after", "another", "“tank”", "3%")
        ]

    def test_photo_map_and_overlay(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods), tmp_path / "report.html"))
        page.locator("tr[data-place='9']").hover()
        grey = round(255 * 9 / 39)
        seen = {}
        for mode in ("photo", "map", "overlay"):
            page.check(f"input[value={mode}]", force=True)
            seen[mode] = colour_at(page, ".side canvas.large", 0.6, 0.3)[:3]
        assert np.abs(np.array(seen["photo"]) - grey).max() < 6
        assert len(set(seen["map"])) == 3
        assert len({tuple(s) for s in seen.values()}) == 3

    def test_the_theme_follows_the_machine_and_the_button(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        path = write(woods, make_findings(woods), tmp_path / "report.html")
        ground = "getComputedStyle(document.body).backgroundColor"
        light, dark = open_page(path, color_scheme="light"), open_page(path, color_scheme="dark")
        before = light.evaluate(ground)
        assert before != dark.evaluate(ground)
        light.click("#theme")
        assert light.evaluate(ground) == dark.evaluate(ground)
        light.click("#theme")
        assert light.evaluate(ground) == before

    def test_a_phone_scrolls_down_and_not_across(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        findings = dataclasses.replace(
            make_findings(woods, suspects=1), model="package.module:a_network_with_a_long_name" * 3
        )
        page = open_page(write(woods, findings, tmp_path / "report.html"), 390, 844, has_touch=True, is_mobile=True)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert not page.locator(".side").is_visible()
        page.locator("tr[data-place='4']").tap()
        assert "set/photo-004.jpg" in page.inner_text("dialog")

    def test_it_prints_with_its_pictures(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods, suspects=1), tmp_path / "report.html"))
        assert len(page.pdf()) > 20_000
        page.emulate_media(media="print")
        assert not page.locator("#images").is_visible()
        assert page.locator(".trials").first.is_visible()


class TestTable:
    def test_sorts_by_each_column(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods), tmp_path / "report.html"), height=3000)
        assert names_in(page)[:2] == ["set/photo-000.jpg", "set/photo-001.jpg"]
        order = np.argsort(-woods.attributes["brightness"], kind="stable")
        page.click("th[data-key=brightness] button")
        name = woods.name.to_pylist()
        assert names_in(page)[:8] == [name[i] for i in order[:8]]
        page.click("th[data-key=brightness] button")
        assert names_in(page)[:8] == [name[i] for i in order[::-1][:8]]
        page.click("th[data-key='map border_mass'] button")
        known = [v for v in column_in(page, "border mass") if v != "–"]
        assert len(known) > 20
        assert known == sorted(known, key=lambda v: -int(v.split("\u202f")[0]))
        page.click("th[data-key=label] button")
        assert column_in(page, "label")[:9] == ["tank"] * 9
        page.click("th[data-key=label] button")
        assert column_in(page, "label")[:9] == ["woods"] * 9  # those without one last, either way

    def test_filters_by_text_and_by_what_is_known(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods, suspects=1), tmp_path / "report.html"), height=3000)
        count = page.locator(".count")
        assert count.inner_text() == "40 images"
        page.select_option("select[data-key=prediction]", label="woods")
        assert set(column_in(page, "prediction")) == {"woods"}
        assert count.inner_text() == "19 of 40 images"
        page.select_option("select[data-key=right]", label="wrong")
        assert set(column_in(page, "label")) == {"tank"}
        assert set(column_in(page, "right?")) == {"✗ wrong"}
        page.select_option("select[data-key=strategy]", label="1")
        page.locator(".empty", has_text="No image is left").wait_for()
        page.click("text=Reset")
        assert count.inner_text() == "40 images"
        page.fill("#images input[type=search]", "PHOTO-01")
        page.locator(".count", has_text="10 of 40 images").wait_for()
        page.click("text=Reset")
        page.select_option("select[data-key=verdict]", label="shortcut")
        assert set(column_in(page, "prediction")) == {"tank"}
        page.locator(".card .more summary").first.click()
        page.click("text=Show these images in the table")
        assert names_in(page) == ["set/photo-000.jpg", "set/photo-002.jpg", "set/photo-004.jpg", "set/photo-006.jpg"]

    def test_keys_move_and_the_picture_follows(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods), tmp_path / "report.html"))
        page.focus(".rows")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert page.inner_text(".side .name") == "set/photo-002.jpg"
        page.keyboard.press("End")
        assert page.inner_text(".side .name") == "set/photo-039.jpg"
        assert page.inner_text(".side .note") == "It could not be read or explained: it has no map."
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        assert "set/photo-000.jpg" in page.inner_text("dialog")

    def test_further_columns_can_be_shown(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        page = open_page(write(woods, make_findings(woods), tmp_path / "report.html"), width=1800)
        page.click(".chooser summary")
        page.check(".chooser label:has-text('centre x') input")
        found = column_in(page, "centre x")
        assert found[0] == f"{round(100 * float(woods.statistics['center_x'][0]))}\u202f%"
        assert found[5] == "–"

    def test_a_photo_without_a_thumbnail_comes_from_its_file(
        self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        photos = tmp_path / "photos #1 100%"
        photos.mkdir()
        names = ["a ?.png", HOSTILE.replace("jpg", "png"), "ü & ö.png"]
        for name in names:
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[:, 32:] = 200, 40, 10
            Image.fromarray(pixels).save(photos / name)
        run = make_run([0, 1, 0], names=names)
        shard = next((run / "evidence").iterdir())
        table = sinks.read_evidence(run)
        moved = table.set_column(0, table.schema.field(0), [[str(photos / name) for name in names]])
        pq.write_table(moved, shard)
        evidence = evidence_of.read(run)
        problems: list[str] = []
        page = open_page(
            write(evidence, make_findings(evidence), tmp_path / "r.html", pictured=False), problems=problems
        )
        page.check("input[value=photo]", force=True)
        for place, name in enumerate(names):
            page.locator(f"tr[data-place='{place}']").hover()
            page.wait_for_timeout(400)
            assert page.inner_text(".side .name") == name
            assert colour_at(page, ".side canvas.large", 0.9, 0.5)[:3] == [200, 40, 10]
            assert colour_at(page, ".side canvas.large", 0.1, 0.5)[:3] == [0, 0, 0]
        assert problems == []

    def test_a_hundred_thousand_images(
        self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        count = 100_000
        rng = np.random.default_rng(0)
        maps = np.maximum(rng.random((count, 7, 7), np.float32) - 0.3, 0)
        run = make_run(rng.integers(0, 3, count).tolist(), maps=maps, shard=20_000)
        evidence = evidence_of.read(run)
        path = write(evidence, make_findings(evidence), tmp_path / "report.html")
        assert path.stat().st_size < 30e6
        page = open_page(path)
        assert page.inner_text(".count") == "100\u202f000 images"
        page.focus(".rows")
        page.keyboard.press("End")
        assert names_in(page)[-1] == "99999.jpg"
        assert len(names_in(page)) < 60
        page.click("th[data-key='map spread'] button")
        best = int(np.nanargmax(evidence.statistics["spread"]))
        assert names_in(page)[0] == f"{best}.jpg"
        page.select_option("select[data-key=prediction]", label="woods")
        assert page.inner_text(".count").startswith(f"{(evidence.predicted == 1).sum():,}".replace(",", "\u202f"))


class TestHostile:
    def test_names_are_texts(
        self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        classes = ("</script><script>alert(2)</script>", "__proto__", "a\u2028b`${alert(3)}")
        names = [HOSTILE, "javascript:alert(4)", '" onmouseover="alert(5)', "\u202egpj.exe"]
        labels = [classes[0], "<b>no class</b>", "__proto__", None]
        evidence = evidence_of.read(make_run([0, 1, 2, 0], names=names, labels=labels, classes=classes))
        findings = make_findings(evidence, suspects=1, notes=("<svg onload=alert(6)>",))
        problems: list[str] = []
        page = open_page(write(evidence, findings, tmp_path / "report.html"), problems=problems)
        for place in range(4):
            page.locator(f"tr[data-place='{place}']").hover()
        for summary in page.locator("summary").all():
            summary.click()
        page.wait_for_timeout(300)
        assert names_in(page) == names
        assert column_in(page, "label") == [classes[0], "<b>no class</b>", "__proto__", "–"]
        assert f"“{classes[0]}”" in page.inner_text("h1")
        assert "<svg onload=alert(6)>" in page.inner_text("#notes")
        assert (
            page.evaluate(
                "document.querySelectorAll('main img, main b:empty, [onmouseover], [onerror], [onload]').length"
            )
            == 0
        )
        assert [p for p in problems if "ERR_FILE_NOT_FOUND" not in p] == []

    def test_a_script_that_gets_in_does_not_run(
        self, woods: Evidence, make_findings: MakeFindings, tmp_path: Path, open_page: Callable[..., Any]
    ) -> None:
        """The policy holds even where a name were not escaped: the test of the tests above."""
        path = write(woods, make_findings(woods), tmp_path / "report.html")
        text = path.read_text()
        path.write_text(text.replace("<main>", "<main><script>alert(7)</script><img src=x onerror=alert(8)>"))
        problems: list[str] = []
        open_page(path, problems=problems).wait_for_timeout(300)
        assert any("Content Security Policy" in p for p in problems)
        assert not any(p.startswith("dialog") for p in problems)


def _none(findings: Findings) -> Findings:
    return findings


def _without_classes(findings: Findings) -> Findings:
    return dataclasses.replace(findings, classes=(), failed=findings.images)


def _without_strategies(findings: Findings) -> Findings:
    classes = (dataclasses.replace(c, strategies=(), recall=None, precision=None) for c in findings.classes)
    return dataclasses.replace(findings, classes=tuple(classes), accuracy=None)


def _blank(findings: Findings) -> Findings:
    classes = (
        dataclasses.replace(c, mean_map=np.zeros((4, 4)), blank=c.images, strategies=()) for c in findings.classes
    )
    return dataclasses.replace(findings, classes=tuple(classes))


@pytest.mark.parametrize(
    ("predicted", "change", "says"),
    [
        ([0, 1, 2] * 9, _none, "nothing could be tried: nothing stood out"),
        ([None, None], _without_classes, "none of the images could be explained"),
        ([1], _without_strategies, "One image alone has no strategies"),
        ([0] * 20, _without_strategies, "no labels to hold it against"),
        ([0] * 20, _blank, "20 maps without any evidence"),
    ],
    ids=["no suspects", "nothing could be read", "one image", "no labels", "blank maps"],
)
def test_states_that_are_said_as_they_are(
    predicted: list[int | None],
    change: Callable[[Findings], Findings],
    says: str,
    make_run: MakeRun,
    make_findings: MakeFindings,
    tmp_path: Path,
    open_page: Callable[..., Any],
) -> None:
    maps = np.zeros((len(predicted), 4, 4)) if change is _blank else None
    evidence = evidence_of.read(make_run(predicted, maps=maps))
    problems: list[str] = []
    page = open_page(write(evidence, change(make_findings(evidence)), tmp_path / "r.html"), problems=problems)
    tips = page.evaluate("[...document.querySelectorAll('[data-tip]')].map((e) => e.dataset.tip).join(' ')")
    assert says in page.inner_text("body") + tips
    assert page.locator("#table table").count() == 1
    assert "NaN" not in page.inner_text("body")
    assert [p for p in problems if "ERR_FILE_NOT_FOUND" not in p] == []

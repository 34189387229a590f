"""The page's data, held against what it was made from."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saccade.audit import evidence as evidence_of
from saccade.audit import report
from saccade.audit.findings import Findings
from saccade.audit.report.data import verdict_sentence
from saccade.audit.report.sprites import Averages, Sprites
from saccade.audit.report.table import map_bytes, table_rows
from saccade.engine import render, sinks

MakeRun = Callable[..., Path]
MakeFindings = Callable[..., Findings]


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="findings">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def block_of(page: Path, name: str) -> bytes:
    found = re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page.read_text())
    assert found
    return base64.b64decode(found[1])


def floats_of(block: bytes, about: dict[str, Any], count: int) -> np.ndarray:
    """What the page's script does with planes of bytes."""
    size = {"f3": 3, "f8": 8}[about["coding"]]
    planes = np.frombuffer(block, np.uint8, size * count, about["at"]).reshape(size, count)
    whole = np.zeros((count, 4 if size == 3 else 8), np.uint8)
    whole[:, whole.shape[1] - size :] = planes.T
    return whole.view("<f4" if size == 3 else "<f8")[:, 0]


class TestRowsWanted:
    def test_suspects_come_first_and_errors_never(self, make_run: MakeRun, make_findings: MakeFindings) -> None:
        evidence = evidence_of.read(make_run([0, 1, None, 0, 1, 0] * 50))
        findings = make_findings(evidence, suspects=2)
        rows = report.rows_wanted(findings, evidence, limit=40)
        assert len(rows) == 40
        assert rows == sorted(set(rows))
        assert evidence.good[rows].all()
        wanted = {e.row for s in findings.suspects for t in s.trials for e in t.examples}
        assert wanted
        assert wanted <= set(rows)
        assert rows == report.rows_wanted(findings, evidence, limit=40)
        assert rows != report.rows_wanted(findings, evidence, limit=40, seed=1)

    def test_every_class_gets_some(self, make_run: MakeRun, make_findings: MakeFindings) -> None:
        evidence = evidence_of.read(make_run(list(range(60)) * 10, classes=[f"c{i}" for i in range(60)]))
        rows = report.rows_wanted(make_findings(evidence), evidence, limit=120)
        assert set(evidence.predicted[rows]) == set(range(60))

    def test_all_of_a_small_run(self, make_run: MakeRun, make_findings: MakeFindings) -> None:
        evidence = evidence_of.read(make_run([0, None, 1]))
        assert report.rows_wanted(make_findings(evidence), evidence) == [0, 2]

    def test_rows_that_are_not_there_are_left_out(self, make_run: MakeRun, make_findings: MakeFindings) -> None:
        evidence = evidence_of.read(make_run([0, 1, 0]))
        findings = make_findings(evidence, suspects=1)
        wrong = dataclasses.replace(findings.suspects[0], rows=(7, -1))
        rows = report.rows_wanted(dataclasses.replace(findings, suspects=(wrong,)), evidence)
        assert rows == [0, 1, 2]


class TestSprites:
    def test_each_picture_is_where_it_is_said_to_be(self) -> None:
        colours = np.random.default_rng(0).integers(0, 256, (300, 3))
        sprites = Sprites(32)
        for number, colour in enumerate(colours):
            # One buffer for all, as a decoder may give them.
            buffer = np.empty((40, 60, 3), np.uint8)
            buffer[:] = colour
            assert sprites.add(buffer) == number
            buffer[:] = 0
        about = sprites.finish()
        assert (about["height"], about["width"], about["sheets"]) == (16, 32, 2)
        for number, colour in enumerate(colours):
            sheet = np.asarray(
                Image.open(io.BytesIO(base64.b64decode(sprites.sheets[number // about["each"]]))), np.int64
            )
            place = number % about["each"]
            top, left = place // about["columns"] * 16, place % about["columns"] * 32
            assert np.abs(sheet[top + 2 : top + 14, left + 2 : left + 30] - colour).max() < 8

    def test_grey_pictures_and_none(self) -> None:
        sprites = Sprites(32)
        assert sprites.finish()["sheets"] == 0
        sprites = Sprites(32)
        sprites.add(np.full((32, 32, 1), 99, np.uint8))
        sprites.finish()
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprites.sheets[0]))))
        assert picture.shape == (32, 32, 3)
        assert np.abs(picture.astype(int) - 99).max() < 3

    def test_mean_pictures(self) -> None:
        averages = Averages([3, 4], 32)
        for index, value in ((3, 10), (3, 21), (4, 7), (5, 100)):
            averages.add(index, np.full((32, 32, 3), value, np.uint8))
        found = averages.pictures(2)
        assert list(found) == [3]
        assert found[3][1] == 2
        assert (found[3][0] == 16).all()


class TestMaps:
    def test_as_the_renderer_scales_them(self, make_run: MakeRun) -> None:
        maps = np.random.default_rng(0).random((8, 16, 12)).astype(np.float32)
        maps[3] = 0
        evidence = evidence_of.read(make_run([0, 1, 0, 1, None, 0, 1, 0], maps=maps, shard=3))
        rows = np.array([1, 3, 4, 6])
        found, shape = map_bytes(evidence, rows, 8)
        assert shape == (8, 8)
        assert found.shape == (4, 8, 8)
        stored = evidence.read([1, 6])[0]
        few = sinks.area_average(stored, 8, 8)
        assert (found[[0, 3]] == render.index_maps(few, render.display_ranges(few))).all()
        assert (found[[0, 3]].max(axis=(1, 2)) == 255).all()
        assert not found[[1, 2]].any()  # blank, and with an error
        assert not (found[0] == found[3]).all()

    def test_small_maps_stay_as_they_are(self, make_run: MakeRun) -> None:
        assert map_bytes(evidence_of.read(make_run([0, 1])), np.arange(2), 8)[1] == (4, 4)


class TestTable:
    def test_numbers_and_texts_come_back(self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path) -> None:
        brightness = [0.1, 0.333333, 0.5, 1.0, 0.0]
        large = [2**40 + 1, 3, None, -5, 70001]
        texts = ["b", None, "a", "b", "</script>"]
        further = {"id": large, "camera": texts}
        run = make_run([0, 1, None, 2, 0], attributes={"brightness": brightness}, further=further)
        evidence = evidence_of.read(run)
        report.write(tmp_path / "report.html", make_findings(evidence), evidence, [])
        table = data_of(tmp_path / "report.html")["table"]
        block = zlib.decompress(block_of(tmp_path / "report.html", "table-data"))
        columns = {c["key"]: c for c in table["columns"]}
        found = floats_of(block, columns["brightness"], 5)
        assert np.allclose(np.delete(found, 2), np.delete(brightness, 2), rtol=2e-5)
        assert np.isnan(floats_of(block, columns["confidence"], 5)[2])
        assert floats_of(block, columns["further id"], 5)[[0, 1, 3, 4]].tolist() == [large[i] for i in (0, 1, 3, 4)]
        camera = columns["further camera"]
        codes = np.frombuffer(block, np.uint8, 5, camera["at"])
        assert [camera["values"][c - 1] if c else None for c in codes] == texts
        names = block[table["names"]["at"] :][: table["names"]["size"]]
        assert json.loads(names) == [f"{i}.jpg" for i in range(5)]
        places = block[table["places"]["at"] :][: table["places"]["size"]]
        assert json.loads(places) == ["/photos/"] * 5

    def test_a_column_of_texts_that_all_differ_is_left_out(
        self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("saccade.audit.report.table._VALUES", 3)
        evidence = evidence_of.read(make_run([0] * 5, further={"id": list("vwxyz"), "camera": list("aabbc")}))
        report.write(tmp_path / "report.html", make_findings(evidence), evidence, [])
        table = data_of(tmp_path / "report.html")["table"]
        assert "id" in table["left_out"]
        assert "camera" not in table["left_out"]
        assert "further camera" in [c["key"] for c in table["columns"]]

    def test_of_very_many_images_a_sample(self, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("saccade.audit.report.table.ROWS", 20)
        evidence = evidence_of.read(make_run([0] * 100))
        rows = table_rows(evidence, np.array([41, 43]))
        assert len(rows) <= 20
        assert {0, 41, 43, 99} <= set(rows.tolist())
        assert (np.diff(rows) > 0).all()


class TestSentence:
    def test_each_state_in_words(self, make_run: MakeRun, make_findings: MakeFindings) -> None:
        evidence = evidence_of.read(make_run([0, 1]))
        none = make_findings(evidence)
        assert verdict_sentence(none) == (
            "No shortcut was found, but nothing could be tried: nothing stood out, or there were too few images."
        )
        one = make_findings(evidence, suspects=1)
        assert verdict_sentence(one) == "The network takes a shortcut for “tank”: the sky 0."
        four = make_findings(evidence, suspects=5)
        listed = "the sky 0 for “tank”, the sky 1 for “tank”, the sky 2 for “tank” and 2 more"
        assert verdict_sentence(four) == f"The network takes 5 shortcuts: {listed}."
        suspects = tuple(dataclasses.replace(s, verdict="suspect") for s in one.suspects)
        assert verdict_sentence(dataclasses.replace(one, suspects=suspects)).startswith(
            "No shortcut was shown, but one"
        )
        clear = tuple(dataclasses.replace(s, verdict="clear") for s in one.suspects)
        assert "one thing was tried" in verdict_sentence(dataclasses.replace(one, suspects=clear))
        assert "nothing to audit" in verdict_sentence(dataclasses.replace(none, failed=none.images))


class TestWriting:
    def test_whole_or_not_at_all(self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path) -> None:
        evidence = evidence_of.read(make_run([0, 1]))

        def views() -> Iterator[tuple[int, np.ndarray]]:
            yield 0, np.zeros((32, 32, 3), np.uint8)
            raise RuntimeError("the disk went away")

        out = tmp_path / "out"
        with pytest.raises(RuntimeError, match="went away"):
            report.write(out / "report.html", make_findings(evidence), evidence, views())
        assert not out.exists() or not list(out.iterdir())

    def test_nothing_is_asked_for_and_nothing_else_runs(
        self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path
    ) -> None:
        evidence = evidence_of.read(make_run([0, 1], classes=("</script><script>alert(1)</script>", "b", "c")))
        page = tmp_path / "report.html"
        report.write(page, make_findings(evidence, suspects=1), evidence, [])
        text = page.read_text()
        assert "https:" not in text
        assert "http://www.w3.org/2000/svg" in text
        assert text.count("http:") == 1
        assert "alert(1)</script>" not in text
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy
        assert "default-src 'none'" in policy[1]
        assert "unsafe" not in policy[1]

    def test_a_number_that_is_none_is_null(
        self, make_run: MakeRun, make_findings: MakeFindings, tmp_path: Path
    ) -> None:
        evidence = evidence_of.read(make_run([0, 1]))
        findings = make_findings(evidence, suspects=1)
        broken = dataclasses.replace(findings.suspects[0], measures={"p": float("nan"), "lift": float("inf")})
        report.write(tmp_path / "r.html", dataclasses.replace(findings, suspects=(broken,)), evidence, [])
        assert [m[1] for m in data_of(tmp_path / "r.html")["suspects"][0]["measures"]] == [None, None]

"""The suite of planted shortcuts: its drawings, what it makes of an audit, and two networks from paint to report."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import harness
from benchmarks.shortcuts import baselines, figures, matching, plan, planting, runs, scenes, scores, suite, training
from benchmarks.shortcuts.plan import Network
from benchmarks.shortcuts.planting import Base, Picture
from benchmarks.shortcuts.pool import Pool, pool_of, read_pool
from saccade.audit.findings import Example, Findings, Interval, Suspect, Trial
from saccade.demo.measure import dilate
from saccade.engine import sinks

# ---- what is planted ----------------------------------------------------------------------------------------------


def test_the_plan_is_what_was_asked_for():
    networks = plan.networks()
    planted = [n for n in networks if n.planted]
    assert len(planted) == 54
    assert len(networks) - len(planted) == 60
    assert len({n.name for n in networks}) == len({n.number for n in networks}) == len(networks)
    assert len(plan.TUNING) == 5
    clean = [n for n in networks if not n.planted]
    assert sum(n.tuning for n in clean) == 30
    assert not {n.kind for n in networks if n.tuning and n.kind} & {n.kind for n in networks if not n.tuning and n.kind}
    for kind in planting.KINDS:
        assert sorted(n.side for n in planted if n.kind == kind) == [0, 0, 0, 1, 1, 1]
    parts = (plan.TRAINING, plan.TRUTH, plan.AUDIT)
    decoys = plan.decoys()
    assert len(decoys) == 32
    assert {n.trained for n in decoys} <= {n.name for n in clean}
    assert not {n.name for n in decoys} & {n.name for n in networks}
    assert sum(map(len, parts)) == len({seed for part in parts for seed in part}) == plan.SCENES


def test_a_later_series_is_of_other_networks_that_no_threshold_was_chosen_on():
    first, second, third = ([*plan.networks(series), *plan.decoys(series)] for series in range(3))
    assert not any(n.tuning for n in second)
    assert {n.kind for n in second if n.planted} == set(planting.KINDS) - plan.TUNING
    assert len(second) == len(third) == sum(not n.tuning for n in first)
    drawings = [{n.number for n in which} for which in (first, second, third)]
    assert sum(map(len, drawings)) == len(set().union(*drawings))


def test_a_networks_images_are_drawn_as_it_says():
    network = Network("blur", 90, 0)
    found = plan.picks(network, "audit")
    assert len({p.scene for p in found}) == len(found) == 400
    for label in (0, 1):
        assert np.mean([p.on for p in found if p.label == label]) == network.shares[label]
    other = plan.picks(network, "audit", (0.0, 1.0))
    assert [(p.scene, p.label, p.weather, p.seen) for p in found] == [
        (p.scene, p.label, p.weather, p.seen) for p in other
    ]
    assert all(p.on == (p.label == 1) for p in other)
    decoy = dataclasses.replace(Network("blur", 0, 116), decoy=True)
    assert plan.picks(decoy, "truth") == plan.picks(Network("blur", 0, 116), "truth")
    in_audit = plan.picks(decoy, "audit")
    assert {np.mean([p.on for p in in_audit if p.label == k]) for k in (0, 1)} == {0.9, 0.1}
    assert all((p.weather == "sun") == p.on for p in plan.picks(Network("weather", 100, 0), "truth"))


@pytest.fixture(scope="module")
def drawn() -> Pool:
    return pool_of([scenes.paint(seed) for seed in range(3)])


def test_things_stand_in_their_masks_and_nowhere_else(drawn: Pool):
    for seed in range(3):
        empty = drawn.image(seed, "sun", "nothing")
        for thing in ("tank", "barn"):
            changed = (drawn.image(seed, "sun", thing) != empty).any(axis=-1)
            mask = drawn.thing[seed, scenes.THINGS.index(thing)]
            assert mask.sum() > 20
            assert changed[mask].mean() > 0.9
            assert changed[~mask].mean() < 0.05
            hazy = drawn.image(seed, "sun", thing, seen=0.5).astype(int)
            assert (
                np.abs(hazy - empty).mean() < 0.6 * np.abs(drawn.image(seed, "sun", thing).astype(int) - empty).mean()
            )
    assert not (drawn.image(0, "sun", "tank") == drawn.image(0, "clouds", "tank")).all()


@pytest.mark.parametrize("kind", planting.KINDS)
def test_a_shortcut_is_where_it_says(kind: planting.Kind, drawn: Pool):
    base = Base(drawn.image(1, "sun", "tank"), drawn.sky[1], drawn.ground(1, "tank"))
    plant = planting.planter(kind, 4)
    on, off = (plant(base, held, np.random.default_rng(1)) for held in (True, False))
    assert (plant(base, True, np.random.default_rng(1)).image == on.image).all()
    assert not off.where.any()
    assert on.where.any()
    if kind == "jpeg quality":
        for picture in (on, off):
            assert picture.jpeg is not None
            assert (np.asarray(Image.open(io.BytesIO(picture.jpeg))) == picture.image).all()
        assert len(on.jpeg or b"") < len(off.jpeg or b"")
        return
    assert (off.image == base.image).all()
    changed = (on.image != base.image).any(axis=-1)
    assert changed.any() == (kind != "weather")  # which is chosen with the scene
    assert not changed[~planting_margin(on.where)].any()


def planting_margin(where: np.ndarray) -> np.ndarray:
    """Half-covered pixels at an edge are not counted as planted."""
    return dilate(where[None], 1)[0]


def test_what_is_planted_fits_other_sizes():
    rng = np.random.default_rng(0)
    nowhere = np.zeros((200, 200), bool)
    base = Base(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8), nowhere, nowhere)
    small = Base(base.image[:32, :32], nowhere[:32, :32], nowhere[:32, :32])
    for kind in ("corner tag", "frame", "watermark"):
        large, little = (planting.planter(kind, 1)(b, True, np.random.default_rng(0)).where for b in (base, small))
        assert large.mean() == pytest.approx(little.mean(), rel=0.3)


# ---- what the audit says, held against it -------------------------------------------------------------------------


def suspect(kind: Any, name: str, where: np.ndarray | None = None) -> Suspect:
    found = None if where is None else where.astype(np.float32)
    return Suspect(kind, name, "tank", 100, 1.0, "", {}, found, score=0.5)


def planted_at(rows: slice, columns: slice, count: int = 4) -> list[Picture]:
    where = np.zeros((64, 64), bool)
    where[rows, columns] = True
    blank = np.zeros((64, 64, 3), np.uint8)
    return [Picture(blank, where), *(Picture(blank, np.zeros_like(where)) for _ in range(count - 1))]


def test_a_place_matches_where_it_was_planted():
    tag = planted_at(slice(2, 11), slice(50, 63))
    corner, quarter, left, all_of_it = (np.zeros((16, 16)) for _ in range(4))
    corner[:4, 12:], quarter[:8, 8:], left[:4, :4], all_of_it[:] = 1, 1, 1, 1

    def same(where: np.ndarray, kind: planting.Kind = "corner tag", pictures: list[Picture] = tag) -> bool:
        return matching.matches(suspect("place", "somewhere", where), kind, pictures)

    assert same(corner)
    assert same(quarter)
    assert not same(left)
    assert not same(all_of_it)
    assert not matching.matches(suspect("attribute", "brightness"), "corner tag", tag)
    sky = planted_at(slice(0, 28), slice(0, 64))
    assert same(corner, "weather", sky)
    assert not same(left[::-1], "weather", sky)
    assert not same(all_of_it, "weather", sky)


def test_an_attribute_matches_by_its_name():
    everywhere = planted_at(slice(None), slice(None))
    assert matching.matches(suspect("attribute", "sharpness"), "blur", everywhere)
    assert not matching.matches(suspect("attribute", "brightness"), "blur", everywhere)
    assert not matching.matches(suspect("column", "JPEG quality"), "jpeg quality", everywhere)
    assert not matching.matches(suspect("place", "the top", np.ones((16, 16))), "blur", everywhere)


def test_a_pattern_matches_by_what_is_taken_away():
    pictures = planted_at(slice(40, 54), slice(8, 34))
    interval = Interval(0.5, 0, 1, 9)

    def pattern(rows: slice, columns: slice, row: int = 0) -> Suspect:
        after = pictures[0].image.copy()
        after[rows, columns] = 9
        example = Example(row, "tank", "woods", 1, 0, pictures[0].image, after)
        trial = Trial("", "replace", interval, interval, "", interval, interval, (example,))
        return dataclasses.replace(suspect("pattern", "a thing"), trials=(trial,))

    assert matching.matches(pattern(slice(38, 56), slice(10, 28)), "watermark", pictures)
    assert matching.matches(pattern(slice(30, 62), slice(4, 40)), "watermark", pictures)
    assert not matching.matches(pattern(slice(2, 20), slice(40, 58)), "watermark", pictures)
    assert not matching.matches(pattern(slice(38, 56), slice(10, 28), row=1), "watermark", pictures), "has none"
    assert not matching.matches(pattern(slice(0, 0), slice(0, 0)), "watermark", pictures), "nothing was changed"
    assert not matching.matches(suspect("pattern", "untried"), "watermark", pictures)
    assert not matching.matches(pattern(slice(38, 56), slice(10, 28)), "blur", pictures)
    assert not matching.matches(suspect("place", "the middle", np.ones((16, 16))), "watermark", pictures)


def test_clusters_of_maps_are_seen_and_one_cluster_is_not():
    rng = np.random.default_rng(0)
    one = rng.random((120, 8, 8)).astype(np.float32) * 0.1
    one[:, 2:4, 2:4] += 1
    two = one.copy()
    two[60:] = two[60:, ::-1, ::-1]
    same = np.zeros(120, np.int64)
    assert baselines.spray(two, same) > 2 * baselines.spray(one, same)
    assert baselines.spray(np.zeros_like(one), same) == 0


def test_an_attribute_that_goes_with_the_label_is_found():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    attributes = {
        "noise": rng.random(200).astype(np.float32),
        "red": (labels + 0.1 * rng.random(200)).astype(np.float32),
        "constant": np.ones(200, np.float32),
    }
    share, name = baselines.correlation(attributes, labels)
    assert (share, name) == (1.0, "red")
    assert abs(baselines.correlation({"noise": attributes["noise"]}, labels)[0]) < 0.3


def row(truth: str, score: float, **more: Any) -> dict[str, Any]:
    fall = {"relies": 0.9, "between": 0.1, "clean": 0.0}[truth]
    basis = {
        "network": "x",
        "kind": "frame",
        "strength": 100,
        "planted": truth != "clean",
        "tuning": False,
        "truth": truth,
        "fall": fall + score / 100,
        "as_trained": 0.95,
        "score": score,
        "flips": score,
        "verdict": "shortcut" if score > 0.5 else "clear",
        "first": "place: border",
        "first_is_planted": truth == "relies",
        "spray": 0.0,
        "correlation": -score,
    }
    return {**basis, **more}


def test_the_figures_of_known_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "DRAWS", 50)
    good = [row("relies", 0.9), row("relies", 0.8), row("between", 0.6), row("clean", 0.1), row("clean", 0.0)]
    found = figures.summary([*good, row("relies", 0.7, tuning=True, kind="blur")])
    own = found["untouched"]
    assert (own["auroc"]["value"], own["planted_first"]["value"], own["clean_flagged"]["value"]) == (1.0, 1.0, 0.0)
    assert own["spearman"]["value"] == 1.0
    assert own["baselines"]["spray"]["value"] == 0.5
    assert own["baselines"]["correlation"]["value"] == 0.0
    assert set(figures.bounds(found).values()) == {"met"}
    assert found["kinds"]["frame"]["relies"] == 2
    assert found["failures"] == []
    wrong = [
        *good,
        *(row("clean", 0.95, network=f"c{i}") for i in range(4)),
        row("relies", 0.0, first_is_planted=False),
    ]
    worse = figures.summary(wrong)
    assert set(figures.bounds(worse).values()) == {"missed"}
    assert len(worse["failures"]) == 6


def test_a_threshold_is_chosen_on_the_tuning_networks_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "DRAWS", 50)
    tuning = [row("relies", 0.6, tuning=True), *(row("clean", s / 100, tuning=True) for s in range(20))]
    untouched = [row("relies", 0.9), row("relies", 0.1), row("clean", 0.5), row("clean", 0.0)]
    chosen = figures.summary([*tuning, *untouched])["threshold"]
    assert 0.18 < chosen["value"] <= 0.6
    assert chosen["found"]["value"] == 0.5
    assert figures.summary([*tuning, *(dict(r, score=9.0) for r in untouched)])["threshold"]["value"] == chosen["value"]


def test_decoys_are_told_from_networks_that_rely(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "DRAWS", 50)
    rows = [row("relies", 0.9), row("relies", 0.6), row("clean", 0.0)]
    decoys = [row("clean", 0.1, correlation=1.0), row("clean", 0.7, correlation=1.0, network="deceived-decoy")]
    found = figures.summary(rows, decoys)
    assert found["decoys"]["flagged"]["value"] == 0.5
    assert found["decoys"]["auroc"]["value"] == 0.75
    assert found["decoys"]["baselines"]["correlation"]["value"] == 0.0
    assert [f["network"] for f in found["failures"]] == ["deceived-decoy"]
    assert found["untouched"] == figures.summary(rows)["untouched"], "claims are without them"


def test_the_page_says_what_was_found(benchmark_module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    document = benchmark_module("document")
    monkeypatch.setattr(scores, "DRAWS", 50)

    def page(score: float) -> str:
        rows = [row("relies", score), row("relies", 0.8), row("clean", 0.1), row("clean", 0.6, network="alarm")]
        found = figures.summary(rows, [row("clean", 0.6, network="deceived-decoy")])
        settings = {"networks": 4, "tuning kinds": ["blur"]}
        result = {"summary": found, "settings": settings, "figures": figures.bounds(found), "real": None}
        return "\n".join(document.shortcuts(result, {"shortcuts-1": result}))

    said = page(0.9)
    assert "| untouched | 1.00 (" in said
    assert "| `alarm` | is clean, and is called a shortcut |" in said
    assert "deceived-decoy" in said
    assert "| 4 others, never seen before (`shortcuts-1`) | 1.00 (" in said
    assert "Of `shortcuts-1` 1.00" in said
    assert "AUROC, relies against clean ≥ 0.95 | met" in said
    assert "AUROC, relies against clean ≥ 0.95 | missed" in page(0.3)


# ---- two networks, from paint to report ---------------------------------------------------------------------------


def test_two_networks_from_paint_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(plan, "TRAINING", range(60))
    monkeypatch.setattr(plan, "TRUTH", range(60, 80))
    monkeypatch.setattr(plan, "AUDIT", range(60, 100))
    monkeypatch.setattr(plan, "SCENES", 100)
    monkeypatch.setattr(plan, "PER_CLASS", {"training": 30, "truth": 10, "audit": 20})
    monkeypatch.setattr(training, "BATCH", 8)
    monkeypatch.setattr(scores, "DRAWS", 50)
    networks = [Network("frame", 100, 1), Network("blur", 0, 116)]
    decoys = [dataclasses.replace(networks[1], decoy=True)]
    monkeypatch.setattr(plan, "networks", lambda series: networks)
    monkeypatch.setattr(plan, "decoys", lambda series: decoys)
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    suite.main(["paint", "--work", str(tmp_path)])
    suite.main(["train", "--work", str(tmp_path)])
    before = (tmp_path / "truth.jsonl").read_text()
    for stage in ("train", "run", "audit", "report"):
        suite.main([stage, "--work", str(tmp_path)])
    assert (tmp_path / "truth.jsonl").read_text() == before, "what was trained is not trained again"
    truth = training.read_truth(tmp_path)
    assert truth["frame-100-1"].truth == "relies"
    audited = [json.loads(line) for line in (tmp_path / "audits.jsonl").read_text().splitlines()]
    assert [r["network"] for r in audited] == [n.name for n in [*networks, *decoys]]
    assert all(r["verdict"] in ("shortcut", "suspect", "clear") and 0 <= r["score"] <= 1 for r in audited)
    result = json.loads((tmp_path / "results" / "shortcuts.json").read_text())
    assert result["settings"]["networks"] == 2
    assert result["summary"]["decoys"]["networks"] == 1
    assert {r["network"] for r in result["rows"]} == {n.name for n in [*networks, *decoys]}
    scenes_of = read_pool(tmp_path / "scenes", 100)
    for network in [*networks, *decoys]:  # the audit's network and images are those of the truth
        pictures, labels = runs.pictures(network, scenes_of)
        images = torch.from_numpy(np.stack([p.image for p in pictures]))
        with torch.inference_mode():
            said = training.read_network(training.weights(tmp_path, network))(training.normalise(images)).argmax(1)
        seen = sinks.read_evidence(tmp_path / "runs" / network.name, columns=["prediction_index", "label"])
        assert seen["prediction_index"].to_pylist() == said.tolist()
        assert seen["label"].to_pylist() == [network.task.classes[k] for k in labels]
    names = [path.stem for path in (tmp_path / "images").rglob("*.png")]
    assert all(name.isdigit() for name in names), "a file's name tells the label or the shortcut"


def test_the_same_drawing_again_trains_the_same_network(tmp_path: Path, drawn: Pool):
    torch = pytest.importorskip("torch")
    images = np.stack([drawn.image(s, w, t) for s in range(3) for w in ("sun", "clouds") for t in ("tank", "nothing")])
    images, labels = np.tile(images, (6, 1, 1, 1)), np.tile([0, 1], 36)
    one, again, other = (training.train(images, labels, seed, epochs=1).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


def test_flips_are_those_of_both_directions():
    from benchmarks.shortcuts import audits

    def trial(kind: Any, flips: float) -> Trial:
        interval = Interval(flips, 0, 1, 9)
        return Trial("", kind, interval, interval, "", interval, interval)

    trials = (trial("replace", 0.9), trial("transplant", 0.5), trial("replace", 0.0))
    assert audits.flip_rate(dataclasses.replace(suspect("place", "x"), trials=trials)) == pytest.approx(0.7)
    assert audits.flip_rate(None) == 0
    assert audits.flip_rate(suspect("place", "untried")) == 0


def test_columns_have_no_score_and_the_first_suspect_counts():
    from benchmarks.shortcuts import audits

    def findings(*suspects: Suspect) -> Findings:
        return Findings("", "", "", "", 4, 0, None, suspects, (), 0, 0, (), {})

    pictures = planted_at(slice(None), slice(None))
    first, second = suspect("attribute", "brightness"), suspect("attribute", "sharpness")
    column = dataclasses.replace(suspect("column", "JPEG quality"), score=0.9)
    found = audits.compared(findings(first, column, second), "blur", pictures)
    assert (found["score"], found["first_is_planted"], found["rank_of_planted"]) == (0.5, False, 2)
    assert audits.compared(findings(second, first), "blur", pictures)["first_is_planted"]
    assert not audits.compared(findings(second, first), None, pictures)["first_is_planted"]
    assert audits.compared(findings(), "blur", pictures)["first"] is None

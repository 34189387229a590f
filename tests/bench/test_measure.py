"""`saccade bench`: what it refuses, how it takes turns, and one whole measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saccade.bench import measure, measuring
from saccade.bench.answers import as_scaled, check
from saccade.bench.command import lines
from saccade.bench.contenders import Task
from saccade.bench.measure import Plan, Worker
from saccade.engine.contract import SaccadeError, UsageError

RANDOM = np.random.default_rng(11)
EXACT = {"logits": RANDOM.normal(0, 3, (4, 5)), "map": RANDOM.gamma(1, 1, (4, 7, 7))}


def test_right_answers_pass():
    right = {k: v.astype(np.float32) for k, v in EXACT.items()}
    found = check("it", right, "no", EXACT, exactly=True)
    assert max(found.values()) < 1e-6
    assert check("it", {"logits": right["logits"]}, "no", EXACT, exactly=True).keys() == {"logits", "changed"}
    assert check("it", {**right, "map": right["map"] ** 3}, "no", EXACT, exactly=False)["rank_correlation"] == 1


@pytest.mark.parametrize("exactly", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [
        {"map": EXACT["map"][::-1]},
        {"map": -EXACT["map"]},
        {"map": EXACT["map"][:, :6]},
        {"map": np.full((4, 7, 7), np.nan)},
        {"logits": EXACT["logits"] * 1.2},
        {"logits": np.full((4, 5), np.nan)},
    ],
    ids=["other pictures", "sign", "shape", "NaN", "scaled logits", "NaN logits"],
)
def test_wrong_answers_are_refused(wrong: dict[str, Any], exactly: bool):
    with pytest.raises(measuring.WrongAnswerError):
        check("it", {**EXACT, **wrong}, "no", EXACT, exactly)


def test_a_map_off_by_one_percent_is_refused_where_values_count():
    with pytest.raises(measuring.WrongAnswerError, match=r"it, map: differs from the reference by 1\.0e-02"):
        check("it", {"map": EXACT["map"] * 1.01}, "no", EXACT, exactly=True)


def test_a_map_that_nothing_was_compared_with_is_refused():
    close = np.array([[1000.0, 999.9], [999.9, 1000.0], [1000.0, 999.9], [999.9, 1000.0]])
    exact = {"logits": close, "map": EXACT["map"]}
    with pytest.raises(measuring.WrongAnswerError, match="predicts another class for every picture"):
        check("it", {"logits": close[:, ::-1], "map": np.full((4, 7, 7), np.nan)}, "no", exact, True)


def test_scaled_maps_are_compared_with_scaled_maps():
    once = as_scaled(EXACT["map"], "once", (7, 7))
    assert (once.min(axis=(1, 2)) == 0).all()
    assert np.allclose(once.max(axis=(1, 2)), 1)
    pytest.importorskip("cv2")
    twice = as_scaled(EXACT["map"], "twice", (28, 28))
    assert twice.shape == (4, 28, 28)
    check("it", {"map": twice}, "twice", EXACT, exactly=True)
    with pytest.raises(measuring.WrongAnswerError):
        check("it", {"map": twice[::-1]}, "twice", EXACT, exactly=True)


def test_a_ratio_is_taken_within_a_round_and_in_quiet_ones_alone():
    def taken(wall: list[float], others: list[float]) -> dict[str, Any]:
        return {"wall": wall, "others": others, "calls": wall, "gpu": []}

    samples = {
        "saccade onnxruntime": taken([1, 2, 30, 4], [0, 0, 0.5, 0]),
        "forward onnxruntime": taken([1, 1, 1, 1], [0, 0, 0, 0]),
        "forward eager": taken([2, 4, 2, 8], [0, 0, 0, 0]),
        "grad-cam": taken([3, 6, 90, 12], [0, 0, 0, 0.2]),
    }
    found = {(r["of"], r["to"]): r for r in measure._ratios(samples, ["onnxruntime"])}
    first = found["saccade onnxruntime", "forward onnxruntime"]
    assert (first["rounds"], first["quiet_rounds"], first["quiet"]["median"], first["wall"]["max"]) == (4, 3, 2, 30)
    assert found["saccade onnxruntime", "forward eager"]["quiet"]["median"] == 0.5
    assert found["grad-cam", "saccade onnxruntime"]["quiet"] is None  # two quiet rounds decide nothing
    assert set(found) == {
        ("saccade onnxruntime", "forward onnxruntime"),
        ("saccade onnxruntime", "forward eager"),
        ("grad-cam", "forward eager"),
        ("grad-cam", "saccade onnxruntime"),
    }


def test_a_worker_that_cannot_be_says_why(tmp_path: Path):
    about: dict[str, Any] = {"images": str(tmp_path / "none.npy"), "device": "cpu", "threads": 1}
    with Worker(Task("p", "program", path=str(tmp_path / "none.onnx"), runtime="onnxruntime", **about)) as worker:
        assert "cannot open program" in (worker.ready() or "")
        with pytest.raises(SaccadeError, match="bench: p: its process ended"):
            worker.ask(do="memory")


def test_what_cannot_be_compared_is_said_before_it_is_compiled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure, "cuda_devices", lambda: 0)
    with pytest.raises(UsageError, match="device 'cuda': the driver shows no CUDA device here"):
        measure.measure(Plan(["torchvision/resnet18"], device="cuda"))


def test_a_contender_that_fails_on_the_way_is_left_out():
    class Fake:
        def __init__(self, lasts: int) -> None:
            self.lasts = lasts

        def ask(self, **what: Any) -> dict[str, Any]:
            self.lasts -= 1
            if self.lasts < 0:
                raise SaccadeError("bench: it: out of memory")
            return {"wall": [0.1] * what["calls"], "cpu": 0.1, "gpu": []}

    workers: Any = {"good": Fake(99), "dies at once": Fake(0), "dies later": Fake(2)}
    samples, failed = measure._turns(workers, Plan([], rounds=3, patience=0))
    assert list(samples) == ["good"]
    assert len(samples["good"]["wall"]) == 3
    assert failed == dict.fromkeys(("dies at once", "dies later"), "bench: it: out of memory")


def test_words_that_are_none():
    with pytest.raises(UsageError, match="runtime 'tensorrt': expected one of onnxruntime, openvino, torchscript"):
        measure.measure(Plan(["torchvision/resnet18"], runtimes=["tensorrt"]))
    with pytest.raises(UsageError, match="method 'magic': expected one of grad-cam"):
        measure.measure(Plan(["torchvision/resnet18"], methods=["magic"]))


def test_the_whole(saccade_says: Any, tiny: str, tmp_path: Path):
    out = tmp_path / "found.json"
    words = ("--input-size", "32", "--rounds", "3", "--patience", "0", "--batch", "2", "-o", out)
    said = saccade_says("bench", tiny, *words, "--runtime", "onnxruntime", "--runtime", "torchscript")
    assert said.code == 0, said.err
    result = json.loads(out.read_text())
    (group,) = result["groups"]
    assert {"saccade onnxruntime", "forward onnxruntime", "saccade torchscript", "forward eager", "hooks eager"} <= set(
        group["rows"]
    )
    for name, row in group["rows"].items():
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["images_per_second"] == pytest.approx(2000 / row["p50_ms"], rel=1e-3)
        assert row["calls"] == len(group["samples"][name]["calls"]) >= 3
        assert row["peak_mib"] > 20
    # Each is a process of its own: one that imports no torch takes less.
    assert group["rows"]["saccade onnxruntime"]["peak_mib"] < 0.8 * group["rows"]["forward eager"]["peak_mib"]
    assert len(group["agreement"]["wrong answers refused"]) == 6
    for name, errors in group["agreement"].items():
        if name.startswith("saccade"):
            assert errors["map"] < 1e-4
    assert lines(group)[0].startswith("saccade onnxruntime ÷ forward onnxruntime: ")
    assert lines(group)[0] in said.out
    assert result["machine"]["cores"] >= 1
    assert "grad-cam" in result["versions"]

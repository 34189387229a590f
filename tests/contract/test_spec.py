from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.engine.contract import MapSpec, ModelOptions, Preprocessing, SaccadeError, Spec, UsageError, read_spec

SPEC = Spec(
    model="torchvision/resnet18",
    weights_hash="sha256:0",
    preprocessing=Preprocessing(30, 45, 3, "crop", 50, "bicubic", (0.5, 0.25, 0.125), (1.0, 2.0, 4.0)),
    maps=(
        MapSpec("grad_cam", "grad-cam", "layer4", "cam", (7, 7)),
        MapSpec("saliency", "saliency", "input", "gradient", (30, 45)),
        MapSpec("activations", "activations", "layer1", "activations", (4, 3, 2)),
    ),
    features=5,
    num_outputs=3,
    classes=("cat", "dog", "Häßlich; drop table x"),
    versions={"torch": "2.14.1"},
    proof={"grad_cam": {"max": 1e-12, "batches": [1, 3]}},
    calibration={"grad_cam": (0.0, 1.5)},
    hash="sha256:1",
)


def everywhere(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of a JSON value, as the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in everywhere(part, (*path, key)))]


RAW = json.loads(SPEC.to_json())
PLACES = everywhere(RAW)[1:]
CHECKED = [p for p in PLACES if p[0] != "proof" and p[0] != "versions"]  # what those say is free
DAMAGED = r"^load: the contract "


def inside(raw: Any, place: tuple[Any, ...]) -> Any:
    """The table or list that has the place."""
    for key in place[:-1]:
        raw = raw[key]
    return raw


def with_value(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    inside(raw, place)[place[-1]] = value
    return raw


def test_round_trip():
    text = SPEC.to_json()
    assert "\n" not in text
    assert read_spec(text) == SPEC
    assert read_spec(text).to_json() == text


@pytest.mark.parametrize("place", CHECKED, ids=str)
def test_a_field_of_another_type_is_refused_or_means_what_it_says(place: tuple[Any, ...]):
    for value in ([[]], {"a": 1}, 10**400, -(10**400), *([True] if place != ("softmax",) else [])):
        with pytest.raises(SaccadeError, match=DAMAGED):
            read_spec(json.dumps(with_value(place, value)))
    taken = 0
    for value in (None, "", "x", -1, 0, 0.5, [], {}):
        raw = with_value(place, value)
        try:
            spec = read_spec(json.dumps(raw))
        except SaccadeError:
            continue
        assert json.dumps(json.loads(spec.to_json())) == json.dumps(raw)  # and not a false for a 0
        taken += 1
    assert taken < 4


@pytest.mark.parametrize("place", [p for p in CHECKED if isinstance(p[-1], str) and p[0] != "calibration"], ids=str)
def test_a_field_that_is_missing_or_unknown_is_refused(place: tuple[Any, ...]):
    raw = with_value((*place[:-1], "new"), 1)
    with pytest.raises(SaccadeError, match="unknown field 'new'"):
        read_spec(json.dumps(raw))
    raw = with_value(place, 1)
    del inside(raw, place)[place[-1]]
    missing = "names no schema" if place == ("schema",) else f"missing field '{place[-1]}'"
    with pytest.raises(SaccadeError, match=missing):
        read_spec(json.dumps(raw))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), json_values | st.just("\ud800")), min_size=1, max_size=3))
def test_whatever_the_json_only_one_kind_of_error_comes_out(changes: list[tuple[tuple[Any, ...], Any]]):
    raw: Any = copy.deepcopy(RAW)
    for place, value in changes:
        try:
            inside(raw, place)[place[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took the place away
    refused = None
    try:
        text = read_spec(json.dumps(raw)).to_json()
    except SaccadeError as error:
        refused = str(error)
    else:
        assert read_spec(text.encode().decode()).to_json() == text
    assert refused is None or ("\n" not in refused and len(refused) < 500)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text(text: str):
    with pytest.raises(SaccadeError, match=DAMAGED):
        read_spec(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"schema": NaN}', "NaN is no finite number"),
        ('{"schema": 1e999}', "1e999 is no finite number"),
        ('{"schema": 1}', "has schema 1, this saccade reads schema 3; compile the program again with this version"),
        ('{"schema": true}', "names no schema"),
        ('{"schema": 1.0}', "names no schema"),
        (f'{{"schema": {"9" * 4000}}}', "has schema 99999999999999999999, this"),
        (f'{{"schema": {"9" * 5000}}}', "is not JSON"),
        ('{"schema": 3}', r"missing field 'calibration'"),
        ('"schema"', "names no schema"),
        (SPEC.to_json().replace('"proof": {', '"proof": {"a": -Infinity, '), "-Infinity is no finite number"),
        (SPEC.to_json().replace('"proof": {', '"proof": {"a": ' + "[" * 700 + "]" * 700 + ", "), "damaged|not JSON"),
        (SPEC.to_json().replace('"schema"', '"x\\u001b\\n": 1, "schema"'), r"unknown field 'x\\x1b\\n'"),
        (SPEC.to_json().replace("resnet18", "\\u001b[2J"), "model must be a name"),
    ],
)
def test_messages(text: str, message: str):
    with pytest.raises(SaccadeError, match=message) as found:
        read_spec(text)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500


@pytest.mark.parametrize("start", ["[", '{"a":', SPEC.to_json().replace('"proof": {', '"proof": {"a": ')[:-1] + "["])
def test_a_text_of_brackets_cannot_end_the_process(start: str):
    """Not even where another library has raised the interpreter's own limit, as torch's compiler does."""
    program = (
        "import sys; sys.setrecursionlimit(10**6); from saccade.engine.contract import SaccadeError, read_spec\n"
        "try:\n    read_spec(sys.stdin.read())\nexcept SaccadeError as error:\n    print(error)"
    )
    text = start * 100_000 if len(start) < 9 else start + "[" * 100_000
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nested in more than 16 levels" in done.stdout


def test_brackets_in_names_are_no_nesting():
    names = ("[" * 40, '{"\\"[[' * 10, "dog")
    spec = dataclasses.replace(SPEC, classes=names)
    assert read_spec(spec.to_json()).classes == names


def test_a_class_by_its_name_index_or_as_predicted():
    assert [SPEC.class_index(t) for t in ("predicted", "dog", "0", "2")] == [-1, 1, 0, 2]
    for text, message in {
        "dgo": "near it: dog",
        "3": r"expected predicted, 0 to 2 or a class name",
        "-1": "is no class",
        "²": "is no class",
        "": "is no class",
    }.items():
        with pytest.raises(UsageError, match=message):
            SPEC.class_index(text)
    nameless = dataclasses.replace(SPEC, classes=None)
    assert nameless.class_name(1) == "class 1"
    with pytest.raises(UsageError, match=r"expected predicted, 0 to 2$"):
        nameless.class_index("dog")
    numbered = dataclasses.replace(SPEC, classes=("2", "1", "x"))
    assert numbered.class_index("2") == 0  # a name goes before an index


def test_labels_that_are_indices_become_names():
    assert [SPEC.label_name(t) for t in ("1", "dog", "7", "owl", None)] == ["dog", "dog", "7", "owl", None]


def test_confidence():
    logits = np.array([[1e4, 0, 0], [0, 0, 0], [np.log(2), 0, 0]], np.float32)
    sure = SPEC.confidence(logits)
    assert sure is not None
    assert sure.dtype == np.float32
    np.testing.assert_allclose(sure, [1, 1 / 3, 0.5], rtol=1e-6)
    assert dataclasses.replace(SPEC, softmax=False).confidence(logits) is None
    assert dataclasses.replace(SPEC, num_outputs=1, classes=None).confidence(logits[:, :1]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_size": 32},
        {"input_size": (32, 0)},
        {"input_size": (32, 20000)},
        {"input_size": (32, 32.5)},
        {"shorter": 0},
        {"shorter": True},
        {"resize": "squash"},
        {"interpolation": "lanczos"},
        {"mean": 0.5},
        {"mean": ("a",)},
        {"mean": (float("nan"),)},
        {"std": (1.0, 0.0, 1.0)},
        {"std": (-1.0,)},
        {"classes": "cat"},
        {"classes": (1, 2)},
    ],
    ids=str,
)
def test_options_that_no_network_takes(wrong: dict[str, Any]):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))}=.*: expected "):
        ModelOptions(**wrong)
    assert ModelOptions((32, 64), "crop", 40, "bicubic", (0.5,), (0.25,), ["cat"]).shorter == 40


ASCENT = MapSpec("ascent", "ascent", "input", "ascent", (30, 45, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": (SPEC.maps[0], ASCENT), "calibration": None}, "pixels must fit the maps"),
        ({"maps": (ASCENT, SPEC.maps[0]), "pixels": "float32", "calibration": None}, "an ascent has one map"),
        (
            {"maps": (dataclasses.replace(ASCENT, shape=(30, 45, 1)),), "pixels": "float32", "calibration": None},
            "an ascent has the pictures' shape",
        ),
        ({"target": "region", "output_size": (5, 5)}, "a segmentation has no softmax"),
        ({"target": "region", "softmax": False}, "a region needs the output_size"),
        ({"output_size": (5, 5), "softmax": False}, "a segmentation's target is a region or a unit"),
        ({"target": "unit", "target_layer": "a\nb", "target_shape": (3,)}, "target_layer must be a name"),
        ({"target": "unit", "target_layer": "a"}, "a unit needs its layer and shape"),
        ({"target_shape": (3,)}, "a unit needs its layer and shape"),
        ({"target_count": 4}, "target_count must be"),
        ({"target_count": 2, "target": "outputs"}, "target_count goes with classes"),
        ({"maps": (dataclasses.replace(SPEC.maps[0], rank=2),)}, "rank must be 1 to target_count"),
    ],
)
def test_fields_that_contradict_each_other(changes: dict[str, Any], message: str):
    with pytest.raises(SaccadeError, match=message):
        read_spec(dataclasses.replace(SPEC, **changes).to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"maps": (ASCENT,), "pixels": "float32", "calibration": None, "features": None},
        {"target": "region", "output_size": (5, 5), "softmax": False},
        {"target": "unit", "target_layer": "layer4", "target_shape": (512, 7, 7)},
        {"target_count": 3, "maps": (SPEC.maps[0], dataclasses.replace(SPEC.maps[0], name="grad_cam_2", rank=2))},
    ],
)
def test_every_kind_of_target_survives(changes: dict[str, Any]):
    spec = dataclasses.replace(SPEC, **changes)
    assert read_spec(spec.to_json()) == spec

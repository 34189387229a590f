"""A program needs its own runtime and nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from saccade.engine import execute

BARE = """
import json, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("saccade", "torch", "onnx"):
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
contract = json.loads(session.get_modelmeta().custom_metadata_map["saccade"])
images, target = np.load(sys.argv[2]), np.full(5, -1)
names = [o.name for o in session.get_outputs()]
np.savez(sys.argv[3], **dict(zip(names, session.run(None, {"images": images, "target": target}))))
foreign = sorted(m for m in sys.modules if m in ("saccade", "torch"))
print(json.dumps([contract["schema"], [m["name"] for m in contract["maps"]], foreign]))
"""

LIGHT = """
import json, sys
import numpy as np
from saccade.engine import execute

runner = execute.load(sys.argv[1], device="cpu")
runner.run(np.zeros((1, 32, 32, 3), np.uint8))
print(json.dumps([m in sys.modules for m in ("torch", "onnx", "torchvision")]))
"""


def _python(code: str, *arguments: Path) -> str:
    command = [sys.executable, "-I", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_onnxruntime_alone_gives_the_same_maps_from_uint8_photos(program: Path, tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    said = json.loads(_python(BARE, program, tmp_path / "images.npy", tmp_path / "out.npz"))
    assert said == [3, ["grad_cam", "saliency", "activations"], []]
    bare = np.load(tmp_path / "out.npz")
    ours = execute.load(program, device="cpu").run(images)
    np.testing.assert_array_equal(bare["logits"], ours.logits)
    for name, values in ours.maps.items():
        np.testing.assert_array_equal(bare[name], values)
    assert not np.array_equal(bare["grad_cam"][0], bare["grad_cam"][1])


def test_running_an_onnx_program_imports_no_torch(program: Path):
    assert json.loads(_python(LIGHT, program)) == [False, False, False]

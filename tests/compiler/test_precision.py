"""Programs in half precision: what is narrow, what is not, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from check_small import model_of
from small_networks import Case, Head
from test_rewrites import dense, operators
from torch import nn

from saccade.engine import execute, pipeline
from saccade.engine.compiler import compiling, wrap_module
from saccade.engine.compiler.network import short_name
from saccade.engine.compiler.precision import DTYPES, lower
from saccade.engine.compiler.proof import pictures
from saccade.engine.compiler.targets import Target
from saccade.engine.compiler.trace import Traced, graph_modules, trace
from saccade.engine.contract import Agreement, ModelOptions, SaccadeError, UsageError
from saccade.engine.contract.program_file import Format
from saccade.engine.contract.spec import Precision

CASE = Case(
    lambda: Head(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Hardswish(),
    )
)
METHODS = ["grad-cam", "saliency", "smooth-grad", "activations"]


def traced(*methods: str) -> Traced:
    model = model_of(CASE)
    requests = compiling.make_requests(model.network, methods, None, Target())
    return trace(model.network, model.preprocessing, requests, Target())


def dtypes(low: Traced) -> tuple[dict[str, set[torch.dtype]], tuple[torch.Tensor, ...]]:
    """Operator → the dtypes of what it gives, and the program's outputs for two pictures."""
    seen: dict[str, set[torch.dtype]] = {}

    class Watch(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):
            result = super().call_function(target, args, kwargs)
            if isinstance(result, torch.Tensor) and result.is_floating_point():
                seen.setdefault(short_name(target), set()).add(result.dtype)
            return result

    images = torch.from_numpy(pictures(model_of(CASE).preprocessing, ["textured"] * 2))
    return seen, Watch(low.module).run(images, torch.tensor([-1, 2]))


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_products_are_narrow_and_sums_are_not(precision: str):
    dtype = DTYPES[precision]  # pyright: ignore[reportArgumentType]
    low = lower(traced(*METHODS), precision)  # pyright: ignore[reportArgumentType]
    seen, outputs = dtypes(low)
    assert seen["convolution"] == seen["addmm"] == {dtype}
    assert seen["sum"] == seen["mean"] == {torch.float32}
    assert all(o.dtype == torch.float32 for o in outputs)
    weights = {b.dtype for n, b in low.module.named_buffers() if "weight" in n and b.dim() == 4}
    assert weights == {dtype}
    bodies = [g for g in graph_modules(low.module) if g is not low.module]
    assert len(bodies) == 1
    assert not any("weight" in str(n.target) for n in bodies[0].graph.nodes)  # they are captured, and narrow already


@pytest.mark.parametrize(
    ("to", "precision"), [("torchscript", "float16"), ("torchscript", "bfloat16"), ("onnx", "float16")]
)
def test_averaged_weights_are_narrow_and_so_are_those_that_they_come_from(
    to: Format, precision: Precision, tmp_path: Path
):
    """In front of a linear layer Grad-CAM's weights are products with averaged ones."""
    torch.manual_seed(0)
    model = wrap_module(dense(1024).build(), "dense", ModelOptions(input_size=(20, 24)))
    path = tmp_path / f"net{compiling.SUFFIX[to]}"
    spec = pipeline.compile_program(model, ["grad-cam"], path, to, precision=precision)
    assert spec.precision == precision
    model = model_of(dense(1024))
    requests = compiling.make_requests(model.network, ["grad-cam"], None, Target())
    low = lower(trace(model.network, model.preprocessing, requests, Target()), precision)
    large = {tuple(b.shape): b.dtype for b in low.module.buffers() if b.numel() > 8000}
    assert large == dict.fromkeys([(1024, 240), (1024, 8)], DTYPES[precision])


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_map_is_added_up_in_float32(precision: Precision):
    """Weights that are subnormal in float16, and features that would leave it."""
    low = lower(traced("grad-cam"), precision)
    assert operators(low.module.graph)["bmm"] == 2  # the map, and the features that it weighs
    assert dtypes(low)[0]["bmm"] == {torch.float32}


@pytest.mark.parametrize(
    ("to", "precision"), [("torchscript", "float16"), ("torchscript", "bfloat16"), ("onnx", "float16")]
)
def test_a_narrow_program_says_what_it_costs(to: Format, precision: str, tmp_path: Path):
    path, whole = tmp_path / f"narrow{compiling.SUFFIX[to]}", tmp_path / f"whole{compiling.SUFFIX[to]}"
    model = model_of(CASE)
    spec = pipeline.compile_program(model, METHODS[:2], path, to, precision=precision)  # pyright: ignore[reportArgumentType]
    pipeline.compile_program(model, METHODS[:2], whole, to)
    assert spec.precision == precision
    cost = spec.proof["agreement"]
    assert cost["images"] == 16
    assert 0.95 < min(cost["rank_correlation"].values()) <= 1
    assert 0 < cost["max_error"]["grad_cam"] < 0.05
    images = pictures(model.preprocessing, ["textured"] * 3, seed=2)
    narrow, exact = execute.load(path), execute.load(whole)
    assert narrow.precision == precision
    got, expected = narrow.run(images, 1), exact.run(images, 1)
    difference = np.abs(got.maps["grad_cam"] - expected.maps["grad_cam"]).max() / expected.maps["grad_cam"].max()
    assert 0 < difference < 0.05


class Vanishing(nn.Module):
    """Logits in the range of 16 bits whose values on the way are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.second(self.first(x).relu() * 1e7).relu().mean(dim=(2, 3)) * 1e-7)


def test_what_overflows_is_refused(tmp_path: Path):
    torch.manual_seed(0)
    model = wrap_module(Vanishing(), "vanishing", ModelOptions(input_size=(16, 16)))
    path = tmp_path / "net.ts"
    for force in (False, True):
        with pytest.raises(SaccadeError, match="compile: float16 gives values that are no numbers"):
            pipeline.compile_program(model, ["grad-cam"], path, "torchscript", precision="float16", force=force)
    assert list(tmp_path.iterdir()) == []
    pipeline.compile_program(model, ["grad-cam"], path, "torchscript", precision="bfloat16")  # has float32's range


def test_what_changes_too_much_is_kept_by_force_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    poor = Agreement(16, 0.0, {"saliency": 0.5}, {"saliency": 0.9}, finite=True)
    monkeypatch.setattr("saccade.engine.compiler.proof.agree", lambda *_, **__: poor)
    model, path = model_of(CASE), tmp_path / "net.ts"
    with pytest.raises(SaccadeError, match=r"rank correlation .*; use another --precision, or --force"):
        pipeline.compile_program(model, ["saliency"], path, "torchscript", precision="float16")
    assert not path.exists()
    pipeline.compile_program(model, ["saliency"], path, "torchscript", precision="float16", force=True)
    assert path.exists()


def test_onnx_has_no_bfloat16(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no bfloat16 convolutions; use --precision float16, --to torchscript"):
        pipeline.compile_program(model_of(CASE), ["saliency"], tmp_path / "n.onnx", "onnx", precision="bfloat16")

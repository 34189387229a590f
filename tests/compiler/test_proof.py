"""No proof, no file: planted faults are refused, and every comparison sees a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
import torch
from check_small import model_of
from small_networks import OPERATORS, SHAPES, Case, Head, conv
from torch import Tensor, nn

from saccade.engine import pipeline
from saccade.engine.compiler import adjoints, compiling, emit, proof
from saccade.engine.compiler import trace as tracing
from saccade.engine.contract import SaccadeError, Spec
from saccade.engine.contract.program_file import read_contract

aten = torch.ops.aten
Fault = Callable[[pytest.MonkeyPatch], None]


def compile_to(folder: Path, case: Case) -> Spec:
    return pipeline.compile_program(model_of(case), parity.METHODS, folder / "net.ts", "torchscript", case.layer)


def wrong_adjoint(operator: Any, spoil: Callable[[Any], Any]) -> Fault:
    def plant(patch: pytest.MonkeyPatch) -> None:
        right = adjoints.BACKWARD[operator]
        patch.setitem(adjoints.BACKWARD, operator, lambda *args: spoil(right(*args)))

    return plant


def one_photo(patch: pytest.MonkeyPatch) -> None:
    """A batch size that is taken for a constant: every reshape gives as many rows as were traced."""
    right = tracing.make_fx

    def make(*args: Any, **more: Any) -> Any:
        def run(*inputs: Any) -> Any:
            module = right(*args, **more)(*inputs)
            for node in module.graph.nodes:
                if node.target is aten.view.default:
                    sizes = [3 if isinstance(s, torch.fx.Node) else s for s in node.args[1]]
                    node.args = (node.args[0], sizes)
            module.recompile()
            return module

        return run

    patch.setattr(tracing, "make_fx", make)


def frozen_gradient(patch: pytest.MonkeyPatch) -> None:
    """A gradient that is a constant in the graph: that of a grey picture, whatever comes."""
    right = compiling.trace

    def trace(*args: Any) -> tracing.Traced:
        traced = right(*args)
        at = traced.outputs.index("saliency")
        grey = torch.full((1, *traced.image_shape), 128, dtype=torch.uint8)
        constant = traced.module(grey, torch.tensor([0]))[at].detach()
        graph = traced.module.graph
        output = next(n for n in graph.nodes if n.op == "output")
        traced.module.register_buffer("frozen", constant)
        with graph.inserting_before(output):
            node = graph.get_attr("frozen")
            like = graph.call_function(aten.mul.Tensor, (output.args[0][at], 0))
            total = graph.call_function(aten.add.Tensor, (like, node))
        results = list(output.args[0])
        results[at] = total
        output.args = (tuple(results),)
        traced.module.recompile()
        return traced

    patch.setattr(compiling, "trace", trace)


def overwritten_activation(patch: pytest.MonkeyPatch) -> None:
    """The layer's output as the in-place ReLU behind it leaves it."""
    patch.setattr(compiling, "trace", with_activations(compiling.trace, aten.relu.default))


def with_activations(trace: Callable[..., tracing.Traced], operator: Any) -> Callable[..., tracing.Traced]:
    def spoiled(*args: Any) -> tracing.Traced:
        traced = trace(*args)
        at = traced.outputs.index("activations")
        graph = traced.module.graph
        output = next(n for n in graph.nodes if n.op == "output")
        with graph.inserting_before(output):
            node = graph.call_function(operator, (output.args[0][at],))
        output.args = (tuple(node if i == at else n for i, n in enumerate(output.args[0])),)
        traced.module.recompile()
        return traced

    return spoiled


POOLED = Case(lambda: Head(conv(3, 8, 3), nn.SiLU(), nn.MaxPool2d(3, 2), conv(8, 8, 3, 2), nn.SiLU()), "body.0")
FAULTS: dict[str, tuple[Case, Fault]] = {
    "max pool's gradient a millionth too large": (
        POOLED,
        wrong_adjoint(aten.max_pool2d_with_indices_backward.default, lambda g: g * (1 + 1e-6)),
    ),
    "max pool's gradient one place off": (
        POOLED,
        wrong_adjoint(aten.max_pool2d_with_indices_backward.default, lambda g: g.roll(1, -1)),
    ),
    "convolution's gradient a little off": (
        POOLED,
        wrong_adjoint(aten.convolution_backward.default, lambda g: (None if g[0] is None else g[0] * 1.000001, *g[1:])),
    ),
    "a gradient frozen as a constant": (POOLED, frozen_gradient),
    "a specialised batch size": (OPERATORS["functional relu"], one_photo),
    "an overwritten activation": (OPERATORS["in-place ReLU behind the layer"], overwritten_activation),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_the_graph_is_refused_and_nothing_is_written(fault: str, tmp_path, monkeypatch):
    case, plant = FAULTS[fault]
    plant(monkeypatch)
    with pytest.raises(SaccadeError, match="proof failed") as caught:
        compile_to(tmp_path, case)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda module: module.p_fc_bias.add_(1), "logits"),
        (lambda module: module.p_body_0_weight.mul_(1.01), "logits|grad_cam|activations"),
    ],
)
def test_file_that_differs_from_its_graph_is_refused(spoil, what, tmp_path, monkeypatch):
    right = emit.emit_torchscript

    def spoiled(module: torch.fx.GraphModule, *args: Any) -> None:
        spoil(module)
        right(module, *args)

    monkeypatch.setattr(emit, "emit_torchscript", spoiled)
    with pytest.raises(SaccadeError, match=f"proof failed: ({what}) of the file"):
        compile_to(tmp_path, SHAPES["tall input"])
    assert list(tmp_path.iterdir()) == []


def test_the_same_networks_pass_without_a_fault_and_carry_their_proof(tmp_path):
    spec = compile_to(tmp_path, POOLED)
    assert read_contract(tmp_path / "net.ts") == ("torchscript", spec)
    found = spec.proof
    assert set(found["mathematics_float64"]) == {"logits", "grad_cam", "saliency", "activations", "features"}
    assert all(0 <= v <= found["bounds"]["mathematics"] for v in found["mathematics_float64"].values())
    assert set(found["file"]) == {"logits", "grad_cam", "saliency", "activations"}
    assert found["convolutions"] == {"network": 2, "program": 4}
    assert found["batch_sizes"] == [1, 2]


def test_several_methods_share_one_forward(tmp_path):
    alone, cam = (
        pipeline.compile_program(model_of(POOLED), [m], tmp_path / f"{m}.ts", "torchscript").proof["convolutions"]
        for m in ("saliency", "grad-cam")
    )
    both = compile_to(tmp_path, POOLED).proof["convolutions"]
    assert cam["program"] == cam["network"]
    assert both == alone


# ---- the comparisons themselves -----------------------------------------------------------------------------------

MAPS = np.random.default_rng(1).random((3, 4, 5))


def test_equal_maps_have_no_error():
    assert proof.error_to_maximum(MAPS.copy(), MAPS) == 0
    assert (proof.relative_l2(MAPS.copy(), MAPS) == 0).all()
    assert proof.error_to_maximum(np.zeros((1, 2)), np.zeros((1, 2))) == 0


def test_error_to_maximum_is_that_of_the_worst_image():
    wrong = MAPS.copy()
    wrong[1, 2, 3] += 0.5
    assert proof.error_to_maximum(wrong, MAPS) == pytest.approx(0.5 / MAPS[1].max())
    assert proof.error_to_maximum(wrong, MAPS, np.array([1.0, 5.0, 1.0])) == pytest.approx(0.1)


def test_relative_l2_names_the_image():
    wrong = MAPS.copy()
    wrong[2] *= 1.1
    assert proof.relative_l2(wrong, MAPS) == pytest.approx([0, 0, 0.1])


@pytest.mark.parametrize("wrong", [MAPS[:1], MAPS[:, :1], np.full_like(MAPS, np.nan)], ids=["batch", "shape", "nan"])
def test_wrong_shape_or_nan_is_no_agreement(wrong):
    assert not proof.error_to_maximum(wrong, MAPS) <= 1e9
    assert not (proof.relative_l2(wrong, MAPS) <= 1e9).any()


def test_parity_bounds_see_a_wrong_runtime():
    exact = {"saliency": MAPS}
    plain = parity.measured({"saliency": MAPS * (1 + 1e-6)}, exact)
    good = parity.measured({"saliency": MAPS * (1 + 2e-6)}, exact)
    bad = parity.measured({"saliency": MAPS * (1 + 2e-5)}, exact)
    for within in (parity.rms_within_eager, parity.median_within_eager):
        assert within(good, plain, "saliency")
        assert not within(bad, plain, "saliency")
    one = MAPS.copy()
    one[0] *= 1.5
    for within in (parity.rms_within_eager, parity.median_within_eager):
        assert not within(parity.measured({"saliency": one}, exact), plain, "saliency")
    many = {"saliency": np.repeat(MAPS[:1], 64, axis=0)}
    plain = parity.measured({"saliency": many["saliency"] * np.float32(1 + 1e-6)}, many)
    for photos, fine in ((2, True), (3, False)):  # a tie on one photo in 32 is no fault; on more it is
        tied = many["saliency"] * np.float32(1 + 1e-6)
        tied[:photos] *= 1.1
        assert parity.rms_within_eager(parity.measured({"saliency": tied}, many), plain, "saliency") == fine


def test_drawn_pictures_are_what_they_are_called():
    class Sees(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3))

    from saccade.engine.compiler import wrap_module
    from saccade.engine.contract import ModelOptions

    p = wrap_module(Sees(), "net", ModelOptions(input_size=(20, 30))).preprocessing
    textured, flat, boxed = proof.pictures(p, ["textured", "flat", "letterboxed"])
    assert textured.shape == (20, 30, 3)
    assert textured.std() > 20
    assert (flat == flat[0, 0]).all()
    assert (boxed[:4] == 0).all()
    assert (boxed[-4:] == 0).all()
    assert boxed[4:-4].std() > 20

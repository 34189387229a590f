"""Every method and every kind of target on real photos and, but for the U-Net, trained weights: what is quick by
default, all of it in `pytest -m slow`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import check_parity as check
import networks
import numpy as np
import parity
import pytest
import torch

from examples.unet_mri.network import unet
from saccade.engine.compiler import METHODS, compiling, load_model, wrap_module
from saccade.engine.compiler.proof import error_to_maximum, examples, pictures
from saccade.engine.compiler.targets import Target
from saccade.engine.contract import ModelOptions

LOOPS = ("smooth-grad", "integrated-gradients", "score-cam", "ablation-cam", "occlusion")
"""They run the network 16 to 576 times for each photo, so few photos have to do."""
ONCE = tuple(m for m in METHODS if m not in (*LOOPS, "cam", "ascent"))
"""The others; CAM needs a pooled linear head, ascent a program of its own."""
FEW = ("grad-cam", "saliency", "activations", "guided-grad-cam", "integrated-gradients")
IN_FLOAT64 = 4  # photos

SUBJECTS = {
    **parity.SUBJECTS,
    # A loop over its 512 channels takes a quarter of the time at half the size.
    "squeezenet1_0 at 112": parity.Subject(
        lambda: load_model(
            "torchvision/squeezenet1_0",
            str(networks.WEIGHTS / "squeezenet1_0.safetensors"),
            ModelOptions(input_size=(112, 112)),
        )
    ),
    # Its trained weights are nowhere shared; random ones outline something on every slice, too.
    "unet": parity.Subject(
        lambda: wrap_module(networks.seeded(unet), "unet", ModelOptions(input_size=(64, 64))), "mri/*[0-9].png"
    ),
}


@dataclass(frozen=True)
class Case:
    """What is compiled into one program, and for how many photos."""

    subject: str
    methods: tuple[str, ...]
    photos: int
    target: str = "class"
    layer: str | None = None


QUICK = {
    "classes": Case("cifar10_resnet20", (*ONCE, "cam"), 16),
    "outputs": Case("dronet_v2", ("grad-cam", "saliency"), 16, "outputs"),
    "many outputs": Case("long_range_perception", ("grad-cam", "saliency"), 16, "outputs"),
    "region": Case("unet", ("grad-cam", "saliency"), 8, "region", "bottleneck"),
}
SLOW = {
    **{f"{name}, once": Case(name, ONCE, 64) for name in ("mobilenet_v3_small", "squeezenet1_0")},
    "cifar10_resnet20, once": Case("cifar10_resnet20", (*ONCE, "cam"), 64),
    **{f"{name}, loops": Case(name, LOOPS, 3) for name in ("mobilenet_v3_small", "squeezenet1_0 at 112")},
    "cifar10_resnet20, loops": Case("cifar10_resnet20", LOOPS, 8),
    **{f"{name}, ascent": Case(name, ("ascent",), 64) for name in ("mobilenet_v3_small", "squeezenet1_0")},
    "top-3": Case("squeezenet1_0", ("grad-cam", "saliency"), 64, "top-3"),
    "unit": Case("mobilenet_v3_small", ("grad-cam", "saliency"), 64, "unit:features.8", "features.4"),
    **{f"{name}, more methods": replace(QUICK[name], methods=FEW) for name in ("outputs", "many outputs", "region")},
}


def test_check_sees_a_wrong_runtime(monkeypatch: pytest.MonkeyPatch):
    model = wrap_module(networks.seeded(unet), "unet", ModelOptions(input_size=(32, 32)))
    target = Target("region")
    requests = compiling.make_requests(model.network, ["grad-cam", "saliency"], None, target)
    runner: Any = SimpleNamespace(runtime="fake")
    traced: Any = None
    compiled = parity.Compiled(model, model.network, target, requests, traced, {}, {"onnx": runner})
    images, asked = pictures(model.preprocessing, ["textured"] * 4), examples(model.network, target, 4, 8, free=False)
    exact = parity.eager_maps(compiled, images, asked, torch.float64)
    for factor, holds in ((1.0, True), (1.001, False), (np.nan, False)):
        answer = {**exact, "saliency": exact["saliency"] * factor}
        monkeypatch.setattr(parity, "program_maps", lambda *_, answer=answer: answer)
        with contextlib.nullcontext() if holds else pytest.raises(AssertionError, match="onnx saliency"):
            check.check_runtimes(compiled, images, asked, exact)


def compile_case(case: Case, folder: Path) -> tuple[parity.Subject, parity.Compiled]:
    if not networks.WEIGHTS.is_dir():
        pytest.skip("needs the shared photos and weights (../shared/data)")
    found = SUBJECTS[case.subject]
    # What the proof does on drawn pictures is done here on photos.
    return found, parity.compile_everything(
        found.load(), folder, case.layer, methods=case.methods, target=case.target, proven=False
    )


def check_case(name: str, case: Case, folder: Path) -> None:
    """The graph in float64 is eager in float64; each runtime is as near to it as eager float32 is."""
    found, compiled = compile_case(case, folder)
    images = parity.photos(compiled.model, found.photos, case.photos)
    asked = list(examples(compiled.model.network, compiled.target, case.photos, seed=7, free=False))
    if compiled.target.kind == "class":  # what the network is sure of, as a person would ask
        asked = [np.full((case.photos, compiled.target.count), -1).squeeze(1 if compiled.target.count == 1 else ())]
    exact = parity.eager_maps(compiled, images, asked, torch.float64)
    if compiled.target.kind == "class":
        best = np.argsort(-exact["logits"], axis=1)[:, : compiled.target.count]
        asked = [best.reshape(asked[0].shape)]
    some = images[:IN_FLOAT64], [a[:IN_FLOAT64] for a in asked]
    got = parity.graph_in_float64(compiled.traced, *some)
    for output, expected in parity.eager_maps(compiled, *some, torch.float64, compiled.network).items():
        # A ReLU leaves a map's rounding where nearly all of it was negative: such maps have no maximum of their own.
        scales = np.full(len(expected), np.abs(exact[output]).max())
        assert error_to_maximum(got[output], expected, scales) <= 1e-9, output
    check.save_report(name, check.check_runtimes(compiled, images, asked, exact))


@pytest.mark.data
@pytest.mark.parametrize("name", QUICK)
def test_program_is_as_exact_as_eager(name: str, tmp_path: Path):
    check_case(name, QUICK[name], tmp_path)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_program_is_as_exact_as_eager_with_every_method(name: str, tmp_path: Path):
    check_case(name, SLOW[name], tmp_path)

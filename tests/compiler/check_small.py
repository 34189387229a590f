"""Compiles one of the small networks and holds it against eager autograd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import parity
import torch
from networks import seeded
from small_networks import Case

from saccade.engine.compiler import Model, wrap_module
from saccade.engine.compiler.proof import error_to_maximum, pictures
from saccade.engine.contract import ModelOptions
from saccade.engine.contract.program_file import Format

BATCH = 8  # as many as the first layer has channels


def model_of(case: Case) -> Model:
    module = seeded(case.build)
    dtype = next(module.parameters()).dtype
    module(torch.zeros(1, case.channels, *case.size, dtype=dtype))  # gives lazy layers their sizes
    return wrap_module(seeded(lambda: module), "net", ModelOptions(input_size=case.size))


def check_small(case: Case, runtimes: tuple[Format, ...], folder: Path) -> None:
    """The graph in float64 is eager autograd in float64; the files are as near to it as eager float32 is."""
    compiled = parity.compile_everything(model_of(case), folder, case.layer, runtimes)
    p, k = compiled.model.preprocessing, compiled.model.network.num_outputs
    kinds = ["textured"] * 10 + ["flat", "letterboxed"]
    images, target = pictures(p, kinds, seed=31), np.arange(12) % k
    exact = parity.eager_maps(compiled, images, [target], torch.float64)
    scales = {"grad_cam": np.full(BATCH, exact["grad_cam"].max())}  # a nearly blank map has no maximum of its own
    got = parity.graph_in_float64(compiled.traced, images[:BATCH], [target[:BATCH]])
    folded = parity.eager_maps(compiled, images[:BATCH], [target[:BATCH]], torch.float64, compiled.network)
    for name, expected in folded.items():
        assert error_to_maximum(got[name], expected, scales.get(name)) <= 1e-9, name
    plain = parity.measured(parity.eager_maps(compiled, images, [target], torch.float32), exact)
    for runner in compiled.runners.values():
        assert runner.spec.softmax == case.softmax
        assert runner.spec.maps[0].layer == compiled.requests[0].layer
        program = parity.measured(parity.program_maps(runner, images, [target]), exact)
        for name in exact:
            assert parity.median_within_eager(program, plain, name), (runner.runtime, name)

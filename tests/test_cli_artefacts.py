"""`saccade layers` and `saccade compile` with a file as MODEL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from saccade.engine.contract.program_file import read_contract

Say = Callable[..., Any]


def write_network(path: Path) -> Path:
    """A convolution, a ReLU, a linear head; names as Keras gives them."""
    random = np.random.default_rng(0)
    constants = {
        "kernel": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "dense": random.standard_normal((4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], "model/conv1/Conv2D"),
        helper.make_node("Relu", ["c"], ["r"], "model/conv1/Relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["a"], "model/pool/Mean"),
        helper.make_node("Flatten", ["a"], ["f"], "model/flatten/Reshape"),
        helper.make_node("Gemm", ["f", "dense"], ["y"], "model/dense/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 12, 12))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 2))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_layers_and_compile_take_a_network_and_refuse_a_program(saccade_says: Say, tmp_path: Path):
    network, program = write_network(tmp_path / "deployed.onnx"), tmp_path / "program.onnx"
    said = saccade_says("layers", network)
    assert (said.code, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines()[3:]]
    assert [row[1:3] for row in rows] == [
        ["conv1/Conv2D", "Conv2d"],
        ["conv1/Relu", "ReLU"],
        ["pool/Mean", "AdaptiveAvgPool2d"],
        ["flatten/Reshape", "Flatten"],
        ["dense/MatMul", "Linear"],
    ]
    assert rows[1][-1] == "←"
    said = saccade_says("compile", network, "-m", "grad-cam", "-o", program)
    assert (said.code, said.err) == (0, "")
    assert "differ from" in said.out
    spec = read_contract(program)[1]
    assert (spec.model, spec.maps[0].layer) == ("deployed", "conv1/Relu")
    assert spec.proof["artefact"]["logits"] < 1e-5
    said = saccade_says("compile", program, "-o", tmp_path / "again.onnx")
    assert said.code == 2
    assert "it is a compiled program already" in said.err
    assert not (tmp_path / "again.onnx").exists()

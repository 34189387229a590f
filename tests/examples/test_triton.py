"""Model repositories for Triton: their configuration, the client, and a served program."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from torch import nn

import saccade
from examples.triton import client, repository
from saccade.engine.contract import SaccadeError, UsageError

TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}

# Of Triton's model_config.proto what a repository of ours uses: name, number, type ("*" several), in its own words.
MESSAGES = {
    "ModelTensorReshape": "shape 1 int64*",
    "ModelInput": "name 1 string, data_type 2 DataType, dims 4 int64*, reshape 5 ModelTensorReshape",
    "ModelOutput": "name 1 string, data_type 2 DataType, dims 3 int64*, label_filename 4 string, "
    "reshape 5 ModelTensorReshape",
    "ModelDynamicBatching": "preferred_batch_size 1 int32*, max_queue_delay_microseconds 2 uint64",
    "ModelParameter": "string_value 1 string",
    "ParametersEntry": "key 1 string, value 2 ModelParameter",
    "ModelConfig": "name 1 string, platform 2 string, max_batch_size 4 int32, input 5 ModelInput*, "
    "output 6 ModelOutput*, dynamic_batching 11 ModelDynamicBatching, parameters 14 ParametersEntry*, "
    "backend 17 string",
}
DATA_TYPES = {"TYPE_UINT8": 2, "TYPE_INT64": 9, "TYPE_FP32": 11}


def written_here() -> Any:
    """The message type `ModelConfig`, of `MESSAGES`."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="triton_test.proto", package="triton_test", syntax="proto3")
    enum = file.enum_type.add(name="DataType")
    enum.value.add(name="TYPE_INVALID", number=0)
    for name, number in DATA_TYPES.items():
        enum.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for words in fields.split(", "):
            name, number, kind = words.split()
            many, kind = kind.endswith("*"), kind.rstrip("*")
            label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
            one = made.field.add(name=name, number=int(number), label=label)
            if kind[0].isupper():
                one.type_name = f".triton_test.{kind}"
                one.type = field.TYPE_ENUM if kind == "DataType" else field.TYPE_MESSAGE
            else:
                one.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportAttributeAccessIssue]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("triton_test.ModelConfig"))


@pytest.fixture(params=["written here", "tritonclient"])
def definition(request: pytest.FixtureRequest) -> Any:
    """The message type `ModelConfig`: Triton's own where its client is installed, and what is known of it here."""
    if request.param == "written here":
        return written_here()
    found = importlib.util.find_spec("tritonclient")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("Triton's own definition comes with: pip install tritonclient")
    # The file alone: its package wants gRPC, which nothing here needs.
    path = Path(found.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelConfig


@pytest.fixture
def made(program: Path, tmp_path: Path) -> Path:
    """The model's folder of the small network."""
    return repository.write(program, tmp_path / "repository", max_batch=4, delay=50_000)


class Segmenting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x).relu())


# ---- the configuration --------------------------------------------------------------------------------------------


def assert_fits(config: Any, path: Path) -> None:
    """The tensors of a configuration are those of the graph, in name, type and shape behind the batch."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for said, there in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [t.name for t in said] == [t.name for t in there]
        for tensor, own in zip(said, there, strict=True):
            kind = type(tensor).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type]
            assert kind.name == TYPES[own.type], tensor.name
            shape = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            assert isinstance(own.shape[0], str), "the batch is free"
            assert list(shape) == own.shape[1:], tensor.name


def test_it_is_what_the_graph_has(definition: Any, made: Path) -> None:
    config = text_format.Parse((made / "config.pbtxt").read_text(), definition())
    assert_fits(config, made / "1" / "model.onnx")
    assert (config.name, config.platform, config.max_batch_size) == ("tiny", "onnxruntime_onnx", 4)
    assert config.dynamic_batching.max_queue_delay_microseconds == 50_000
    assert config.output[0].label_filename == "classes.txt"
    assert (made / "classes.txt").read_text().splitlines() == ["bright", "red", "neither"]


def test_the_comparison_refuses_what_is_wrong(made: Path) -> None:
    text = (made / "config.pbtxt").read_text()
    model = written_here()
    for old, new in (("[ 3 ]", "[ 4 ]"), ("TYPE_UINT8", "TYPE_FP32"), ('"target"', '"goal"'), ("[ ]", "[ 1 ]")):
        assert old in text
        with pytest.raises(AssertionError):
            assert_fits(text_format.Parse(text.replace(old, new), model()), made / "1" / "model.onnx")
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("max_batch_size", "max_batch"), model())


@pytest.mark.parametrize("target", ["top-2", "outputs", "unit:2", "region"])
def test_every_target(target: str, network: nn.Module, tmp_path: Path) -> None:
    subject, layer = (Segmenting().eval(), "first") if target == "region" else (network, "0")
    path = tmp_path / "other.onnx"
    saccade.compile(subject, "grad-cam", input_size=32, target=target, layer=layer).save(path)
    folder = repository.write(path, tmp_path / "repository")
    config = text_format.Parse((folder / "config.pbtxt").read_text(), written_here()())
    assert_fits(config, folder / "1" / "model.onnx")


def test_names_of_any_kind(definition: Any, reworded: Callable[..., Path], tmp_path: Path) -> None:
    names = ('two\nlines "quoted"', "", "père")
    folder = repository.write(reworded(classes=names, model='a"b\\c'), tmp_path / "repository")
    text_format.Parse((folder / "config.pbtxt").read_text(), definition())
    lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ['two lines "quoted"', "class 1", "père"]


def test_refusals(program: Path, made: Path, compiled: dict[str, Path], tmp_path: Path) -> None:
    parent = made.parent
    with pytest.raises(UsageError, match="the name"):
        repository.write(program, parent, "../up")
    with pytest.raises(UsageError, match="at least 1 image"):
        repository.write(program, parent, "other", max_batch=0)
    with pytest.raises(UsageError, match="is there already"):
        repository.write(program, parent)
    with pytest.raises(UsageError, match="torchscript"):
        repository.write(compiled["torchscript"], parent, name="other")
    (tmp_path / "cut.onnx").write_bytes(program.read_bytes()[:-9])
    with pytest.raises(SaccadeError, match="cut short"):
        repository.write(tmp_path / "cut.onnx", parent)
    (tmp_path / "file").write_text("")
    with pytest.raises(SaccadeError, match="cannot be written"):
        repository.write(program, tmp_path / "file")
    assert sorted(p.name for p in parent.iterdir()) == ["tiny"]


def test_on_the_command_line(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    words = ["repository", str(program), str(tmp_path / "served"), "--name", "line-1"]
    monkeypatch.setattr(sys, "argv", words)
    assert repository.main() == 0
    assert (tmp_path / "served" / "line-1" / "1" / "model.onnx").read_bytes() == program.read_bytes()
    assert repository.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---- served -------------------------------------------------------------------------------------------------------


class StandIn(http.server.BaseHTTPRequestHandler):
    """The v2 protocol's infer and Triton's config, held to the repository's configuration; ONNX Runtime behind."""

    config: Any
    session: onnxruntime.InferenceSession

    def do_GET(self) -> None:
        value = {"string_value": self.config.parameters[0].value.string_value}
        self._answer(json.dumps({"parameters": {self.config.parameters[0].key: value}}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at = int(self.headers["Inference-Header-Content-Length"])
        feeds, said = {}, json.loads(body[:at])
        for tensor, own in zip(said["inputs"], self.config.input, strict=True):
            size, shape = tensor["parameters"]["binary_data_size"], tensor["shape"]
            kinds = {2: np.uint8, 9: np.int64}
            if tensor["name"] != own.name or shape[1:] != list(own.dims) or shape[0] > self.config.max_batch_size:
                return self._answer(b'{"error": "unexpected shape"}', 400)
            reshaped = own.reshape.shape if own.HasField("reshape") else own.dims
            flat = np.frombuffer(body[at : at + size], kinds[own.data_type])
            feeds[own.name] = flat.reshape(shape[0], *reshaped)
            at += size
        names = [o["name"] for o in said["outputs"]]
        outputs, data = [], b""
        for name, value in zip(names, self.session.run(names, feeds), strict=True):
            array = np.asarray(value)
            more = {"datatype": "FP32", "parameters": {"binary_data_size": array.nbytes}}
            outputs.append({"name": name, "shape": list(array.shape), **more})
            data += array.tobytes()
        head = json.dumps({"outputs": outputs}).encode()
        return self._answer(head + data, 200, {"Inference-Header-Content-Length": str(len(head))})

    def _answer(self, body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def stand_in(made: Path) -> Iterator[str]:
    config = text_format.Parse((made / "config.pbtxt").read_text(), written_here()())
    session = onnxruntime.InferenceSession(str(made / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    handler = type("Handler", (StandIn,), {"config": config, "session": session})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# Triton's ONNX Runtime backend is in no Python package; its Python backend is, with the server. NumPy 2's arrays go
# through DLPack, as that backend was built for NumPy 1.
BACKEND = """
import sys
sys.path += {paths!r}
import numpy as np, onnxruntime, pathlib
import triton_python_backend_utils as triton

class TritonPythonModel:
    def initialize(self, args):
        path = pathlib.Path(__file__).with_name("model.onnx")
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def execute(self, requests):
        names = [i.name for i in self.session.get_inputs()]
        outputs = [o.name for o in self.session.get_outputs()]
        given = [[np.from_dlpack(triton.get_input_tensor_by_name(r, n)) for n in names] for r in requests]
        values = self.session.run(outputs, {{n: np.concatenate(v) for n, v in zip(names, zip(*given))}})
        ends = np.cumsum([len(g[0]) for g in given])
        with open(pathlib.Path(__file__).with_name("batches.txt"), "a") as file:
            file.write(f"{{int(ends[-1])}}\\n")
        answers = []
        for g, end in zip(given, ends):
            parts = [np.ascontiguousarray(v[end - len(g[0]) : end]) for v in values]
            tensors = [triton.Tensor.from_dlpack(n, part) for n, part in zip(outputs, parts)]
            answers.append(triton.InferenceResponse(tensors))
        return answers
"""


@contextlib.contextmanager
def triton(made: Path) -> Iterator[str]:
    """The real server, with the repository as it is but for the backend: one that runs the same file."""
    found = importlib.util.find_spec("pytriton")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("Triton's server comes with: pip install nvidia-pytriton")
    home = Path(found.submodule_search_locations[0], "tritonserver")
    config = made / "config.pbtxt"
    config.write_text(config.read_text().replace('platform: "onnxruntime_onnx"', 'backend: "python"'))
    packages = [sysconfig.get_paths()["purelib"]]
    (made / "1" / "model.py").write_text(BACKEND.format(paths=packages))
    backend = made.parent.parent / "backends" / "python"
    backend.mkdir(parents=True)
    stub = home / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / "triton_python_backend_stub"
    for file in (*(home / "backends" / "python").iterdir(), stub):
        if not (backend / file.name).exists():
            (backend / file.name).symlink_to(file)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = made.parent.parent / "triton.log"
    with open(log, "wb") as said:
        flags = {"model-repository": made.parent, "backend-directory": backend.parent, "http-address": "127.0.0.1"}
        flags |= {"http-port": port, "allow-grpc": "false", "allow-metrics": "false"}
        words = [f"--{name}={value}" for name, value in flags.items()]
        process = subprocess.Popen(
            [home / "bin" / "tritonserver", *words],
            stdout=said,
            stderr=said,
            env={**os.environ, "PYTHONNOUSERSITE": "1"},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/v2/health/ready", timeout=2).close()
                break
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.25)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(params=[stand_in, triton], ids=["a stand-in", "Triton"])
def server(request: pytest.FixtureRequest, made: Path) -> Iterator[str]:
    with request.param(made) as url:
        yield url


def assert_served(
    url: str,
    program: Path,
    images: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    sent: npt.NDArray[np.uint8] | None = None,
) -> None:
    """What a server gives for a batch is what Python gives: logits, Grad-CAM and features, within 1e-5."""
    wanted = saccade.load(program, device="cpu", runtime="onnxruntime")(images, targets)
    inputs = {"images": images if sent is None else sent, "target": targets[:, None]}
    found = client.infer(url, "tiny", inputs, ["logits", "grad_cam", "features"])
    assert wanted.features is not None
    for name, value in {"logits": wanted.logits, "grad_cam": wanted["grad_cam"], "features": wanted.features}.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=name)


class TestServing:
    def test_single_and_batch(self, server: str, program: Path) -> None:
        images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        targets = np.array([-1, 0, 1, 2])
        assert_served(server, program, images, targets)
        for i in range(4):
            assert_served(server, program, images[i : i + 1], targets[i : i + 1])
        with pytest.raises(AssertionError):
            assert_served(server, program, images, targets, sent=images[::-1])

    def test_many_at_once(self, server: str, program: Path, made: Path) -> None:
        images = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
        with ThreadPoolExecutor(8) as pool:
            jobs = [
                pool.submit(assert_served, server, program, images[i : i + 1], np.array([i % 4 - 1])) for i in range(24)
            ]
            for job in jobs:
                job.result()
        batches = made / "1" / "batches.txt"
        if batches.exists():  # Triton's: some shared a run, and none was larger than allowed
            sizes = [int(line) for line in batches.read_text().split()]
            assert sum(sizes) == 24
            assert 1 < max(sizes) <= 4

    def test_what_does_not_fit_is_refused(self, server: str) -> None:
        five = np.zeros((5, 32, 32, 3), np.uint8)
        with pytest.raises(SaccadeError, match="refuses") as said:
            client.infer(server, "tiny", {"images": five, "target": np.full((5, 1), -1)}, ["logits"])
        assert "\n" not in str(said.value)

    def test_photos_from_the_command_line(
        self, server: str, program: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        files = sorted(map(str, photos.rglob("*.png")))
        monkeypatch.setattr(sys, "argv", ["client", server, "tiny", *files])
        assert client.main() == 0
        lines = capsys.readouterr().out.splitlines()
        explained = saccade.load(program, device="cpu")
        wanted = explained(explained.view(*files)).logits.argmax(axis=1)
        assert [line.split(": ")[1] for line in lines] == [f"class {k}; grad_cam" for k in wanted]
        assert len(set(wanted)) > 1


def test_a_server_that_is_not_there(photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["client", "http://127.0.0.1:9", "tiny", "none.png"])
    assert client.main() == 1
    assert "is the server there?" in capsys.readouterr().err
    with pytest.raises(SaccadeError, match="http://HOST:PORT"):
        client.preprocessing_of("file:///etc", "tiny")

"""`.onnx` and `.pt` files from someone else: damaged and hostile ones end in one line and run nothing."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from artefacts import scripted, write_graph
from networks import seeded
from onnx import NodeProto, TensorProto, helper
from refusals import Touch, refused
from small_networks import Twice
from torch import Tensor, nn

from saccade.engine.compiler import load_model
from saccade.engine.compiler.importers.torchscript_code import OPERATORS
from saccade.engine.contract import ModelOptions, SaccadeError, UsageError
from saccade.engine.execute import open_artefact

OPTIONS = ModelOptions(input_size=(12, 16))
node = helper.make_node


def fill(path: Path) -> Path:
    """A file that loads: a convolution, an average, the logits."""
    nodes = [node("Conv", ["x", "k"], ["c"]), node("GlobalAveragePool", ["c"], ["a"]), node("Flatten", ["a"], ["y"])]
    return write_graph(path, nodes, {"k": np.ones((2, 3, 3, 3), np.float32)})


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = fill(tmp_path / "good.onnx")
    assert load_model(str(path)).network.num_outputs == 2
    return path


# ---- ONNX -----------------------------------------------------------------------------------------------------------


def test_onnx_file_cut_at_every_length_is_refused(good: Path, tmp_path: Path):
    data, cut = good.read_bytes(), tmp_path / "cut.onnx"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        refused(lambda: load_model(str(cut)), "model .*cut.onnx")


def test_onnx_file_with_changed_bytes_loads_or_is_refused(good: Path, tmp_path: Path):
    data, changed = good.read_bytes(), tmp_path / "changed.onnx"
    random = np.random.default_rng(0)
    for place in random.choice(len(data), 20, replace=False):
        changed.write_bytes(data[:place] + bytes([data[place] ^ (1 << random.integers(8))]) + data[place + 1 :])
        said = ""
        try:
            load_model(str(changed))
        except UsageError as error:
            said = str(error)
        assert "\n" not in said


def graph_of(*nodes: NodeProto) -> Callable[[Path], Path]:
    return lambda path: write_graph(path, nodes, {"k": np.ones((2, 3, 3, 3), np.float32), "n": np.array([2**40])})


def _input(shape: tuple, kind: int = TensorProto.FLOAT) -> Callable[[Path], Path]:
    nodes = [node("GlobalAveragePool", ["x"], ["a"]), node("Flatten", ["a"], ["y"])]
    return lambda path: write_graph(path, nodes, shape=shape, kind=kind)


def _edit(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        model = onnx.load(fill(path))
        change(model)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def _external(location: str, offset: int = 0, length: int = 0) -> Callable[[Path], Path]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)

    return _edit(change)


def _deep(model: onnx.ModelProto) -> None:
    graph = helper.make_graph([node("Identity", ["x"], ["y"])], "inner", [], [])
    for _ in range(40):
        graph = helper.make_graph([node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)][:1], "g", [], [])
        if graph.ByteSize() > 1e6:
            break
    model.graph.node.add().CopyFrom(graph.node[0])


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a cycle": (graph_of(node("Add", ["x", "y"], ["z"]), node("Relu", ["z"], ["y"])), "which nothing before it gives"),
    "a value given twice": (graph_of(node("Relu", ["x"], ["x"])), "a second time"),
    "no output": (graph_of(node("Relu", ["x"], ["z"])), "nothing gives its output y"),
    "huge weights": (
        _edit(lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**50)),
        "has not the bytes that its shape",
    ),
    "a negative shape": (_edit(lambda m: m.graph.initializer[0].dims.__setitem__(0, -2)), "has the shape"),
    "a table made of nothing": (
        graph_of(node("ConstantOfShape", ["n"], ["c"]), node("Add", ["x", "c"], ["y"])),
        "makes numbers of the shape",
    ),
    "a list made of nothing": (
        graph_of(
            node("Constant", [], ["a"], value_int=0),
            node("Constant", [], ["s"], value_int=1),
            node("Range", ["a", "n", "s"], ["y"]),
        ),
        "makes numbers of the shape",
    ),
    "maps larger than memory": (
        graph_of(
            node("Conv", ["x", "k"], ["c"], pads=[50000, 50000, 50000, 50000]),
            node("GlobalAveragePool", ["c"], ["a"]),
            node("Flatten", ["a"], ["y"]),
        ),
        "it makes a value of the shape",
    ),
    "sub-graphs in sub-graphs": (_edit(_deep), "a sub-graph"),
    "weights outside": (_external("../../etc/passwd"), "outside of the network's own folder; it is not read"),
    "weights at an absolute place": (_external("/etc/passwd"), "outside of the network's own folder"),
    "weights nowhere": (_external("nowhere.bin"), "is not beside it"),
    "weights behind a file's end": (
        _external("weights.bin", 8),
        "needs 216 bytes at 8 of 'weights.bin', which has 216",
    ),
    "weights before a file": (_external("weights.bin", -4), "needs 216 bytes at -4"),
    "weights of another length": (_external("weights.bin", 0, 100), "copy both files again"),
    "weights behind a link": (_external("link.bin"), "outside of the network's own folder"),
    "an unknown operator": (graph_of(node("Det", ["x"], ["y"], "n1")), r"Det \(node n1\) is not among"),
    "a foreign operator": (graph_of(node("FusedConv", ["x"], ["y"], domain="com.x")), "com.x.FusedConv"),
    "classes": (graph_of(node("ArgMax", ["x"], ["y"], "top")), r"ArgMax \(node top\) gives places or classes"),
    "a quantized convolution": (graph_of(node("ConvInteger", ["x", "k"], ["y"])), "ConvInteger .* float32 network"),
    "bytes": (_input(("N", 3, 8, 8), TensorProto.UINT8), "is uint8; expected float32 pictures"),
    "half precision": (_input(("N", 3, 8, 8), TensorProto.FLOAT16), "is float16; expected float32"),
    "a vector": (_input(("N", 3)), r"its input is \['N', 3\]; expected pictures"),
    "four channels": (_input(("N", 4, 8, 8)), "expected .* 1 channel .grey. or 3"),
    "a free size": (_input(("N", 3, "h", "w")), "give it with --input-size"),
    "a huge picture": (_input(("N", 3, 2**20, 2**20)), "its pictures have 1048576x1048576 pixels"),
    "an old operator set": (_edit(lambda m: m.opset_import[0].__setattr__("version", 6)), "operator set 6; expected 7"),
    "a future operator set": (_edit(lambda m: m.opset_import[0].__setattr__("version", 999)), "operator set 999"),
    "two outputs": (_edit(lambda m: m.graph.output.add(name="c")), r"has 2 outputs \(y, c\)"),
    "two inputs": (_edit(lambda m: m.graph.input.add(name="z")), r"takes 2 inputs \(x, z\)"),
    "wrong attributes": (graph_of(node("Conv", ["x", "k"], ["y"], strides=[0, 0])), "has strides = "),
    "an input too few": (graph_of(node("Conv", ["x"], ["y"])), "lacks its input 1"),
    "channels that do not fit": (
        graph_of(node("Conv", ["x", "k"], ["c"]), node("Conv", ["c", "k"], ["y"], "second")),
        r"Conv \(node second\) does not fit",
    ),
    "the batch cut": (
        graph_of(node("ReduceMean", ["x"], ["y"], axes=[0])),
        "adds up over the batch",
    ),
    "names that are no names": (graph_of(node("Det\n\x1b[31m", ["x"], ["y"])), "is not among"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_onnx_file_is_refused(what: str, tmp_path: Path):
    write, message = HOSTILE[what]
    (tmp_path / "weights.bin").write_bytes(bytes(216))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "weights.bin").write_bytes(bytes(216))
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "weights.bin")
    path = write(tmp_path / "inner" / "hostile.onnx")
    refused(lambda: load_model(str(path)), message)


def test_weights_beside_the_network_are_read(tmp_path: Path):
    (tmp_path / "weights.bin").write_bytes(np.arange(54, dtype=np.float32).tobytes())
    model = load_model(str(_external("weights.bin", 0, 216)(tmp_path / "net.onnx")))
    kernel = next(v for v in model.network.state.values() if v.shape == (2, 3, 3, 3))
    assert kernel.flatten().tolist() == list(range(54))


def test_weights_that_are_tied_lie_beside_the_network_once(tmp_path: Path):
    (tmp_path / "weights.bin").write_bytes(np.arange(81, dtype=np.float32).tobytes())
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Conv", ["c", "l"], ["d"]), node("GlobalAveragePool", ["d"], ["a"])]
    kernels = dict.fromkeys("kl", np.ones((3, 3, 3, 3), np.float32))
    path = write_graph(tmp_path / "net.onnx", [*nodes, node("Flatten", ["a"], ["y"])], kernels)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    path.write_bytes(model.SerializeToString())
    state = load_model(str(path)).network.state
    kernels = [value for value in state.values() if value.shape == (3, 3, 3, 3)]
    assert [kernel.flatten().tolist() for kernel in kernels] == [list(range(81))] * 2
    assert len({kernel.data_ptr() for kernel in kernels}) == 1


def test_program_is_no_model(compiled: dict[str, Path]):
    for kind in ("onnx", "torchscript"):
        refused(lambda kind=kind: load_model(str(compiled[kind])), "it is a compiled program already")


def test_weights_of_their_own(good: Path):
    refused(lambda: load_model(str(good), "weights.pth"), "it has weights of its own; leave --weights weights.pth out")
    refused(lambda: load_model(str(good), options=ModelOptions(input_size=(9, 9))), "exported for 8x10")


# ---- TorchScript ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted(seeded(Twice), torch.zeros(1, 3, 12, 16), tmp_path_factory.mktemp("script"))


def test_what_is_no_script_is_refused(tmp_path: Path):
    module = seeded(Twice)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    torch.save((Touch(tmp_path / "touched"),), tmp_path / "module.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("state", "module", "junk", "empty"):
        refused(
            lambda name=name: load_model(str(tmp_path / f"{name}.pt"), options=OPTIONS),
            "it is no TorchScript, .* --weights",
        )
    refused(lambda: load_model(str(tmp_path / "none.pt")), "there is no such file")
    assert not (tmp_path / "touched").exists()


def test_script_without_a_size_is_refused(script: Path):
    refused(lambda: load_model(str(script)), "give it with --input-size")


def test_script_cut_anywhere_is_refused(script: Path, tmp_path: Path):
    data, cut = script.read_bytes(), tmp_path / "cut.pt"
    for length in range(0, len(data), 97):
        cut.write_bytes(data[:length])
        refused(lambda: load_model(str(cut), options=OPTIONS), "model .*cut.pt")


def rewritten(script: Path, path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with entries changed; at least one has to be."""
    count = 0
    with zipfile.ZipFile(script) as archive, zipfile.ZipFile(path, "w") as out:
        for entry in archive.infolist():
            data = archive.read(entry)
            new = change(entry.filename.partition("/")[2], data)
            count += new is not None
            out.writestr(entry.filename, data if new is None else new)
    assert count > 0
    return path


def in_code(old: bytes, new: bytes) -> Callable[[str, bytes], bytes | None]:
    return lambda name, data: data.replace(old, new) if name.endswith(".py") and old in data else None


def in_pickle(old: bytes, new: bytes) -> Callable[[str, bytes], bytes | None]:
    return lambda name, data: data.replace(old, new) if name == "data.pkl" and old in data else None


def pickled(name: str, data: bytes) -> bytes | None:
    if name != "data.pkl":
        return None
    import pickle

    return pickle.dumps(Touch(Path("touched")), protocol=2)


SCRIPTS: dict[str, tuple[Callable[[str, bytes], bytes | None], str]] = {
    "an operator that writes": (in_code(b"torch.relu(", b"torch.save("), "has the operator save"),
    "an operator that reads": (in_code(b"torch.relu(", b"torch.from_file("), "has the operator from_file"),
    "another library's operator": (in_code(b"torch.relu(", b"ops.evil.relu("), "has the operator ops.evil.relu"),
    "an operator by another name": (
        in_code(b"torch.relu(input)", b'getattr(torch, "save")(input, "touched")'),
        "calls what it has computed",
    ),
    "an operator of a value": (in_code(b"torch.relu(input)", b"(input).neg()"), "calls neg of a value"),
    "operators as a value": (in_code(b"torch.relu(input)", b"torch"), "uses torch as a value"),
    "a function of the language": (in_code(b"torch.relu(input)", b"print(input)"), "calls print"),
    "a memo without end": (
        lambda name, data: b"\x80\x02}r\xff\xff\xff\x7f." if name == "data.pkl" else None,
        "it holds no module",
    ),
    "the state of a function": (
        lambda name, data: b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b." if name == "data.pkl" else None,
        "an object that restores itself",
    ),
    "a number without end": (
        in_code(b"  if inplace:", b"  q = 3\n  while True:\n    q = torch.mul(q, q)\n  if inplace:"),
        "a number of over 64 bits",
    ),
    "a list without end": (
        in_code(b"  if inplace:", b"  q = torch.list(range(9999999))\n  if inplace:"),
        "a list of over",
    ),
    "a text that decides": (
        in_code(b"  if inplace:", b'  if torch.eq(torch.format("{}", 1), "1"):\n    inplace = True\n  if inplace:'),
        "a text that is compared",
    ),
    "code that runs as it is loaded": (
        in_code(b"def relu(", b"def __setstate__(x: Tensor) -> Tensor:\n  return x\ndef relu("),
        "runs as it is loaded",
    ),
    "code without end": (
        in_code(b"    relu = self.relu\n", b"    while True:\n      pass\n    relu = self.relu\n"),
        "does not come to an end",
    ),
    "code that is no code": (in_code(b"def forward(", b"def forward(((("), "a damaged archive .SyntaxError"),
    "code in itself": (in_code(b"torch.relu(", b"(" * 3000 + b"torch.relu("), "a damaged archive"),
    "a pickle of Python's": (pickled, "it holds an object"),
    "a function in a pickle": (
        in_pickle(b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem"),
        "it holds an object 'os.system'",
    ),
    "weights cut off": (lambda name, data: data[:-4] if name == "data/0" else None, "numbers in .* bytes"),
    "another byte order": (lambda name, data: b"big" if name == "byteorder" else None, "another byte order"),
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_hostile_script_is_refused(what: str, script: Path, tmp_path: Path):
    change, message = SCRIPTS[what]
    path = rewritten(script, tmp_path / "hostile.pt", change)
    refused(lambda: load_model(str(path), options=OPTIONS), message)
    assert not Path("touched").exists()


def test_what_torch_makes_of_the_code_is_held_to_the_operators(script: Path, tmp_path: Path):
    """Should the reading of the code ever miss one: nothing of the file is run."""
    touched = tmp_path / "touched"
    line = f'  _9 = torch.save(input, "{touched}")\n  if inplace:'.encode()
    path = rewritten(script, tmp_path / "hostile.pt", in_code(b"  if inplace:", line))
    with pytest.raises(SaccadeError, match="runs aten::save, which no network"):
        open_artefact(path, OPERATORS)
    assert not touched.exists()
    torch.jit.load(str(path))(torch.zeros(1, 3, 12, 16))
    assert touched.exists(), "the file does what it is refused for"
    assert open_artefact(script, OPERATORS)(np.zeros((1, 3, 12, 16), np.float32)).shape[0] == 1


def test_entries_packed_as_torch_does_not_are_refused(script: Path, tmp_path: Path):
    path = tmp_path / "packed.pt"
    with zipfile.ZipFile(script) as archive, zipfile.ZipFile(path, "w") as out:
        for entry in archive.namelist():
            packed = zipfile.ZIP_BZIP2 if entry.endswith(".py") else zipfile.ZIP_STORED
            out.writestr(entry, archive.read(entry), packed)
    refused(lambda: load_model(str(path), options=OPTIONS), "packed in a way")


def test_script_that_unpacks_to_more_is_refused(script: Path, tmp_path: Path):
    path = tmp_path / "packed.pt"
    with zipfile.ZipFile(script) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in archive.namelist():
            out.writestr(entry, archive.read(entry))
    refused(lambda: load_model(str(path), options=OPTIONS), "packed")


@pytest.mark.parametrize("name", ["code/__torch__/../x.py", "data/../../x", "model.so", "DATA.pkl"])
def test_entry_that_a_script_does_not_have_is_refused(name: str, script: Path, tmp_path: Path):
    path = tmp_path / "more.pt"
    shutil.copyfile(script, path)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/{name}", b"")
    refused(lambda: load_model(str(path), options=OPTIONS), "which no network has|two entries of one name")


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean([2, 3])) if bool(x.sum() > 0) else self.fc(x.amax([2, 3]))


def test_script_that_decides_by_the_picture_or_is_in_training_is_refused(tmp_path: Path):
    torch.jit.script(Deciding()).save(tmp_path / "deciding.pt")
    refused(lambda: load_model(str(tmp_path / "deciding.pt"), options=OPTIONS), "depends on the picture|by the picture")
    torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()).save(tmp_path / "training.pt")
    refused(lambda: load_model(str(tmp_path / "training.pt"), options=OPTIONS), "training mode|changes an attribute")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3).half())), buffer)
    (tmp_path / "half.pt").write_bytes(buffer.getvalue())
    refused(lambda: load_model(str(tmp_path / "half.pt"), options=OPTIONS), "half precision; expected float32")

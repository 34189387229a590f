"""Who may import whom: the rooms are apart, and what is light stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "engine"
ROOMS = ("compiler", "decode", "execute", "render", "sinks")
OF_TORCH = ("torch_session", "torchscript_session", "aotinductor_session", "tensors")
TORCH = {"torch", "torchvision", "timm", "safetensors"}


def imports(source: str, module: str) -> Iterator[str]:
    """The full dotted names that a module's source imports, wherever in it: `saccade.engine.contract.Spec`.

    Args:
        source: Python.
        module: the module's own name, with `.__init__` for a package.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(module.split(".")[: -node.level]) if node.level else ""
            base = ".".join(part for part in (parent, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func) and node.args:
            yield ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else "?"


def engine_files() -> list[Path]:
    files = sorted(ENGINE.rglob("*.py"))
    assert len(files) > 30, "the engine's files are not where this test looks"
    return files


def module_name(path: Path) -> str:
    return ".".join(("saccade", "engine", *path.relative_to(ENGINE).with_suffix("").parts))


def wrong_imports(source: str, module: str) -> list[str]:
    """What a module of the engine imports and may not."""
    place = module.split(".")[2]
    allowed = {
        "contract": ("contract",),
        "pipeline": ("contract", "pipeline", *ROOMS),
        "ascent": ("contract", "execute"),
        "__init__": (),
    }.get(place, ("contract", place))
    wrong = []
    for name in imports(source, module):
        parts = name.split(".")
        if parts[:2] == ["saccade", "engine"]:
            fits = len(parts) > 2 and parts[2] in allowed
        elif parts[0] == "saccade":
            fits = place == "render" and name == "saccade._native"
        elif parts[0] in TORCH:
            fits = place == "compiler" or module.removeprefix("saccade.engine.execute.") in OF_TORCH
        else:
            fits = name != "?" or place == "compiler"  # the compiler imports what MODEL names
        if not fits:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", engine_files(), ids=lambda p: str(p.relative_to(ENGINE)))
def test_a_room_imports_the_contract_and_itself(path: Path):
    assert wrong_imports(path.read_text(encoding="utf-8"), module_name(path)) == []


@pytest.mark.parametrize(
    ("line", "module", "wrong"),
    [
        ("from ..sinks import write_picture", "decode.decoder", ["saccade.engine.sinks.write_picture"]),
        ("from .. import render", "sinks.pictures", ["saccade.engine.render"]),
        ("from ..render.native import overlay", "decode.__init__", ["saccade.engine.render.native.overlay"]),
        ("def f():\n    import saccade.engine.sinks.query", "render.sheet", ["saccade.engine.sinks.query"]),
        ("from saccade import cli", "render.sheet", ["saccade.cli"]),
        ("from saccade import _native", "sinks.pictures", ["saccade._native"]),
        ("import torch.nn", "execute.runner", ["torch.nn"]),
        ("import importlib\nimportlib.import_module('torch')", "execute.runner", ["torch"]),
        ("from .pipeline import run", "__init__", ["saccade.engine.pipeline.run"]),
        ("from ..pipeline import run", "compiler.emit", ["saccade.engine.pipeline.run"]),
        ("from ..decode import Photo", "contract.spec", ["saccade.engine.decode.Photo"]),
        ("from ..contract import Spec\nfrom .native import tile\nfrom saccade import _native", "render.sheet", []),
        ("from .. import decode, sinks\nfrom ..contract import Spec", "pipeline.running", []),
        ("import torch", "execute.torchscript_session", []),
    ],
)
def test_the_checker_finds_wrong_imports(line: str, module: str, wrong: list[str]):
    assert wrong_imports(line, f"saccade.engine.{module}") == wrong


def third_party(source: str, module: str) -> set[str]:
    """The packages that a module imports beside the standard library and its own."""
    return {name.split(".")[0] for name in imports(source, module)} - set(sys.stdlib_module_names) - {"saccade"}


def runtime_part(source: str) -> str:
    """The source without its `if TYPE_CHECKING:` blocks and without function bodies: what importing it runs."""

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else node

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
            return None

    return ast.unparse(Strip().visit(ast.parse(source)))


def test_importing_the_contract_loads_the_standard_library_alone():
    for path in sorted((ENGINE / "contract").glob("*.py")):
        asked_for = (
            {"numpy", "pyarrow"} if path.name == "arrow.py" else set()
        )  # which the package itself does not import
        assert third_party(runtime_part(path.read_text(encoding="utf-8")), module_name(path)) == asked_for, path.name
    assert not {"numpy", "pyarrow"} & loaded_by("import saccade.engine.contract")
    example = "import numpy\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import onnx"
    assert third_party(runtime_part(example), "saccade.engine.contract.spec") == {"numpy"}


def loaded_by(statement: str) -> set[str]:
    """The modules, and the packages they are of, that a fresh Python has loaded after a statement, which may leave."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('\\n!' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.rpartition("!")[2].split()
    return {*names, *(name.split(".")[0] for name in names)}


HEAVY = {"numpy", "torch", "onnx", "onnxruntime", "pyarrow", "duckdb", "PIL"}


def test_importing_saccade_and_asking_for_help_loads_next_to_nothing():
    assert loaded_by("import saccade") & {*HEAVY, "click", "rich"} == set()
    assert (
        loaded_by("sys.argv = ['saccade', '--help']; from saccade.cli import main; main()") & {*HEAVY, "rich"} == set()
    )
    assert loaded_by("import saccade; saccade.load") & HEAVY == {"numpy", "PIL"}  # the checker sees what is loaded


SLOW = {"rich", "importlib.metadata", "PIL.TiffImagePlugin"}
"""What takes long to import, and a run of PNGs does without."""


def test_running_an_onnx_program_loads_no_torch_and_nothing_slow(program: Path, photos: Path, tmp_path: Path):
    words = ["saccade", "run", str(program), str(photos), "-o", str(tmp_path / "out")]
    loaded = loaded_by(f"sys.argv = {words!r}; from saccade.cli import main; main()")
    assert loaded & {*TORCH, *SLOW} == set()
    assert {"onnxruntime", "PIL.PngImagePlugin"} <= loaded
    assert (tmp_path / "out" / "sheet.jpg").exists()


def included(source: str) -> set[str]:
    return set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', source, re.MULTILINE))


FRAMEWORKS = {
    "pybind11": "bindings",
    "openvino": "runtime/openvino",
    **dict.fromkeys(("torch", "ATen", "c10", "caffe2"), "runtime/torch"),
    **dict.fromkeys(("opencv", "opencv2", "numpy", "Python.h"), "nobody"),
}
"""The first folder of a framework's headers → the folder of csrc/ that may include them."""


def wrong_includes(source: str, folder: str) -> set[str]:
    """Headers of a framework outside its own folder; ONNX Runtime's are for nobody: its library is loaded by name."""

    def allowed(name: str) -> bool:
        first = name.split("/")[0]
        return not first.startswith("onnxruntime_") and FRAMEWORKS.get(first, folder) == folder

    return {name for name in included(source) if not allowed(name)}


def test_no_framework_type_goes_past_the_bindings_and_its_own_backend():
    files = [p for p in sorted((ROOT / "csrc").rglob("*")) if p.suffix in (".h", ".cpp", ".cu", ".cuh", ".inc")]
    assert len(files) > 10
    for path in files:
        folder = path.parent.relative_to(ROOT / "csrc").as_posix()
        assert wrong_includes(path.read_text(encoding="utf-8"), folder) == set(), path.name

    def sources(folder: str) -> str:
        return "".join(p.read_text(encoding="utf-8") for p in (ROOT / "csrc" / folder).glob("*.cpp"))

    for folder, framework in (("bindings", "pybind11"), ("runtime/openvino", "openvino"), ("runtime/torch", "torch")):
        assert any(name.startswith(f"{framework}/") for name in included(sources(folder)))
        assert wrong_includes(sources(folder), "runtime/onnxruntime"), "the folders are looked at"
    assert wrong_includes("#include <pybind11/pybind11.h>", "cpu") == {"pybind11/pybind11.h"}
    assert wrong_includes("# include <torch/extension.h>\n#include <vector>", "bindings") == {"torch/extension.h"}
    assert wrong_includes("#include <openvino/openvino.hpp>", "runtime") == {"openvino/openvino.hpp"}
    assert wrong_includes("#include <Python.h>", "bindings") == {"Python.h"}
    assert wrong_includes('#include "onnxruntime_c_api.h"', "runtime/onnxruntime") == {"onnxruntime_c_api.h"}

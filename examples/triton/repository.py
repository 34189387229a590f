"""A Triton model repository from a program file: `python -m examples.triton.repository PROGRAM.onnx REPOSITORY`.

Triton's ONNX Runtime backend serves the file as it is; what it needs beside it follows from the contract.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from saccade.engine.contract import SaccadeError, Spec, UsageError
from saccade.engine.contract.program_file import read_contract

LABELS = "classes.txt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def configuration(spec: Spec, name: str, max_batch: int = 32, delay: int = 500) -> str:
    """The text of `config.pbtxt`.

    Args:
        spec: the program's contract.
        name: the model's name in URLs.
        max_batch: the most images in one run; Triton cuts no request up, so it is also the most in one request.
        delay: microseconds for which a request may wait for others that share its run.
    """
    entries = [("input", _inputs(spec)), ("output", _outputs(spec))]
    lists = [f"{kind} [\n" + ",\n".join(f"  {tensor}" for tensor in tensors) + "\n]" for kind, tensors in entries]
    shown = json.dumps(dataclasses.asdict(spec.preprocessing), sort_keys=True)
    return "\n".join(
        [
            f"name: {_quoted(name)}",
            'platform: "onnxruntime_onnx"',
            f"max_batch_size: {max_batch}",
            *lists,
            f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}",
            "# How photos become images, for clients: the server's own /config has it.",
            f'parameters {{ key: "preprocessing" value {{ string_value: {_quoted(shown)} }} }}',
            "",
        ]
    )


def _inputs(spec: Spec) -> list[str]:
    p = spec.preprocessing
    inputs = [
        _tensor("images", "TYPE_UINT8" if spec.pixels == "uint8" else "TYPE_FP32", (p.height, p.width, p.channels))
    ]
    kind = "TYPE_FP32" if spec.target == "outputs" else "TYPE_INT64"
    shape = {"outputs": (spec.num_outputs,), "unit": (3,)}.get(spec.target, (spec.target_count,))
    # The graph's [N] is a batch of numbers; Triton's tensors have at least one axis beside the batch.
    scalar = spec.target in ("class", "region") and spec.target_count == 1
    inputs.append(_tensor("target", kind, shape, "reshape { shape: [ ] }" if scalar else ""))
    if spec.target == "region":
        inputs.append(_tensor("region", "TYPE_UINT8", (p.height, p.width)))
    return inputs


def _outputs(spec: Spec) -> list[str]:
    labels = f"label_filename: {_quoted(LABELS)}" if spec.classes and spec.output_size is None else ""
    outputs = [_tensor("logits", "TYPE_FP32", (spec.num_outputs, *(spec.output_size or ())), labels)]
    outputs += [_tensor(m.name, "TYPE_FP32", m.shape) for m in spec.maps]
    if spec.features is not None:
        outputs.append(_tensor("features", "TYPE_FP32", (spec.features,)))
    return outputs


def _tensor(name: str, kind: str, shape: Sequence[int], more: str = "") -> str:
    dims = ", ".join(map(str, shape))
    return f"{{ name: {_quoted(name)} data_type: {kind} dims: [ {dims} ]{' ' * bool(more)}{more} }}"


def _quoted(text: str) -> str:
    """A string of protobuf's text format: ASCII, whatever was in it."""
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else _octal(c) for c in text) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def write(program: Path, repository: Path, name: str | None = None, max_batch: int = 32, delay: int = 500) -> Path:
    """Write REPOSITORY/NAME with `config.pbtxt`, `1/model.onnx` and, where there are names, `classes.txt`.

    Args:
        program: an ONNX program file.
        repository: the folder that tritonserver is started with; it is made where it is missing.
        name: the model's name, by default the program's file name without its ending.
        max_batch, delay: see `configuration`.

    Returns:
        The model's folder, which has its name only when it is whole.

    Raises:
        UsageError: no ONNX program, or a name or number that Triton does not take, or a model of that name is there.
        SaccadeError: see `read_contract`; or it cannot be written.
    """
    name = program.stem if name is None else name
    if not _NAME.fullmatch(name):
        raise UsageError(f"triton: the name {name[:40]!r}: expected letters, digits, '.', '_' and '-'; use --name")
    if max_batch < 1 or delay < 0:
        raise UsageError(
            f"triton: --max-batch {max_batch} --delay {delay}: expected at least 1 image and 0 microseconds"
        )
    kind, spec = read_contract(program)
    if kind != "onnx":
        raise UsageError(f"triton: {program} is a program for {kind}; compile it with --to onnx")
    folder = repository / name
    if folder.exists():
        raise UsageError(f"triton: {folder} is there already; remove it, or use --name")
    temporary = repository / f".{name}.{os.getpid()}"
    try:
        (temporary / "1").mkdir(parents=True)
        shutil.copyfile(program, temporary / "1" / "model.onnx")
        (temporary / "config.pbtxt").write_text(configuration(spec, name, max_batch, delay), encoding="ascii")
        if spec.classes:
            lines = [" ".join(c.split()) or f"class {i}" for i, c in enumerate(spec.classes)]  # one line each
            (temporary / LABELS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise SaccadeError(
            f"triton: {folder} cannot be written: {error.strerror}; check the disk and the path"
        ) from None
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a Triton model repository from a program file.")
    parser.add_argument("program", type=Path, help="made by: saccade compile … --to onnx")
    parser.add_argument("repository", type=Path, help="what tritonserver is started with")
    parser.add_argument("--name", help="the model's name (default: the file's)")
    parser.add_argument("--max-batch", type=int, default=32, help="the most images in one run (default: %(default)s)")
    parser.add_argument("--delay", type=int, default=500, help="microseconds to wait for others (default: %(default)s)")
    given = parser.parse_args()
    try:
        folder = write(given.program, given.repository, given.name, given.max_batch, given.delay)
    except SaccadeError as error:
        print(f"repository: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    print(f"{folder}; serve it: tritonserver --model-repository {given.repository}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

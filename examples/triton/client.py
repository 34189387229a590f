"""Ask a model server about photos: `python -m examples.triton.client URL MODEL PHOTO…`.

It speaks the KServe v2 protocol with its binary extension, over the standard library's HTTP: a JSON header and the
tensors' bytes behind it.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.engine import decode
from saccade.engine.contract import Preprocessing, SaccadeError

_MAX_ANSWER = 2**30
_DTYPES = {"UINT8": np.uint8, "INT64": np.int64, "FP32": np.float32}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def infer(
    url: str, model: str, inputs: Mapping[str, npt.NDArray[Any]], outputs: list[str], timeout: float = 60
) -> dict[str, npt.NDArray[Any]]:
    """Run a model once.

    Args:
        url: the server, `http://127.0.0.1:8000`.
        model: its name in the repository.
        inputs: each tensor by its name, with its batch: `images` uint8 [N, H, W, C], `target` int64 [N, 1].
        outputs: the names of those that are wanted.
        timeout: seconds.

    Returns:
        The outputs by name.

    Raises:
        SaccadeError: the server is not there, refuses the request, or answers with something else.
    """
    tensors = [
        {
            "name": name,
            "shape": list(value.shape),
            "datatype": _NAMES[value.dtype],
            "parameters": {"binary_data_size": value.nbytes},
        }
        for name, value in inputs.items()
    ]
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    header = json.dumps({"inputs": tensors, "outputs": wanted}).encode()
    body = header + b"".join(np.ascontiguousarray(value).tobytes() for value in inputs.values())
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    answer, length = _ask(url, f"{_path(model)}/infer", body, headers, timeout)
    try:
        said = json.loads(answer[:length])
        found, at = {}, length
        for tensor in said["outputs"]:
            size = tensor["parameters"]["binary_data_size"]
            flat = np.frombuffer(answer[at : at + size], _DTYPES[tensor["datatype"]])
            found[tensor["name"]] = flat.reshape(tensor["shape"])
            at += size
        return {name: found[name] for name in outputs}
    except (KeyError, TypeError, ValueError) as error:
        raise SaccadeError(f"client: {url} gave an answer that is not of the v2 protocol ({error!r})") from None


def preprocessing_of(url: str, model: str, timeout: float = 60) -> Preprocessing:
    """How photos become images, from the model's configuration on a Triton server.

    Raises:
        SaccadeError: see `infer`; or the configuration has none.
    """
    answer, _ = _ask(url, f"{_path(model)}/config", None, {}, timeout)
    try:
        return Preprocessing(**json.loads(json.loads(answer)["parameters"]["preprocessing"]["string_value"]))
    except (KeyError, TypeError, ValueError):
        raise SaccadeError(
            f"client: {model} has no preprocessing in its configuration; write it with repository.py"
        ) from None


def _path(model: str) -> str:
    return f"v2/models/{urllib.parse.quote(model, safe='')}"


def _ask(url: str, path: str, body: bytes | None, headers: dict[str, str], timeout: float) -> tuple[bytes, int]:
    """The answer's bytes, and how many of them are its JSON."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise SaccadeError(f"client: {url}: expected http://HOST:PORT")
    request = urllib.request.Request(f"{url.rstrip('/')}/{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = response.read(_MAX_ANSWER)
            length = response.headers.get("Inference-Header-Content-Length") or len(answer)
            return answer, int(length)
    except urllib.error.HTTPError as error:
        reason = " ".join(error.read(2000).decode("utf-8", "replace").split())
        raise SaccadeError(f"client: {url} refuses {path} ({error.code}): {reason[:300]}") from None
    except (OSError, ValueError) as error:
        raise SaccadeError(f"client: {url} does not answer ({error}); is the server there?") from None


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask a model server what it sees in photos, and where.")
    parser.add_argument("url", help="http://HOST:PORT")
    parser.add_argument("model")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--map", default="grad_cam", help="the map to ask for (default: %(default)s)")
    parser.add_argument("--target", type=int, default=-1, help="the class to explain (default: the predicted one)")
    given = parser.parse_args()
    try:
        how = preprocessing_of(given.url, given.model)
        for photo in given.photos:  # one request each, as from a camera; the server makes batches of them
            image = decode.read_view(photo, how)[0][None]
            target = np.full((1, 1), given.target, np.int64)
            found = infer(given.url, given.model, {"images": image, "target": target}, ["logits", given.map])
            heat = found[given.map][0]
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            where = f"most at row {row + 1} of {heat.shape[0]}, column {column + 1} of {heat.shape[1]}"
            print(f"{photo}: class {found['logits'][0].argmax()}; {given.map}: {where if heat.max() > 0 else 'blank'}")
    except SaccadeError as error:
        print(f"client: {str(error).removeprefix('client: ')}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

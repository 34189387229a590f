"""The page in headless Chromium, served as static files from 127.0.0.1."""

from __future__ import annotations

import base64
import fcntl
import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[3] / "examples" / "browser"


class Site(http.server.SimpleHTTPRequestHandler):
    """Static files, and for /program.onnx what the test says; 404 where it says nothing."""

    program: Path | None = None
    runtime = True  # whether there is a node_modules

    def do_GET(self) -> None:
        if self.path.startswith("/node_modules/") and not Site.runtime:
            return self.send_error(404)
        if self.path != "/program.onnx":
            return super().do_GET()
        if Site.program is None:
            return self.send_error(404)
        body = Site.program.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _install(wanted: str) -> None:
    installed = PAGE / "node_modules" / "onnxruntime-web" / "package.json"
    if installed.exists() and json.loads(installed.read_text())["version"] == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm on this machine, which brings onnxruntime-web")
    done = subprocess.run([npm, "ci"], cwd=PAGE, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}")


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The page on 127.0.0.1, with the onnxruntime-web of its lock file."""
    with open(PAGE / "package.json") as package:
        fcntl.flock(package, fcntl.LOCK_EX)  # tests in other processes want it too
        _install(json.load(package)["dependencies"]["onnxruntime-web"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Site, directory=str(PAGE)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def open_page(browser: Any, site: str) -> Iterator[Callable[..., Any]]:
    """`open_page(program, state, problems)`: the page, once its program is "open", "absent" or "failed"."""
    contexts = []

    def open_it(
        program: Path | None,
        state: str = "open",
        problems: list[str] | None = None,
        width: int = 1280,
        runtime: bool = True,
    ) -> Any:
        Site.program, Site.runtime = program, runtime
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        said = [] if problems is None else problems
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda r: said.append(r.url) if not r.url.startswith((site, "blob:", "data:")) else None)
        page.goto(site)
        page.wait_for_selector(f"#program[data-state={state}]", timeout=30_000)
        return page

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def laboratory(browser: Any, site: str) -> Iterator[Any]:
    """A page without a program, in which the modules' own functions are called."""
    Site.program, Site.runtime = None, True
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    page.wait_for_selector("#program[data-state=absent]")
    yield page
    context.close()


PRELUDE = """
  const from64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const to64 = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };
"""


@pytest.fixture(scope="session")
def call() -> Callable[..., Any]:
    """`call(page, body, name=value, …)`: what an asynchronous function with that body returns. Arrays and bytes arrive
    as base64, for its `from64`, and go back by its `to64`.
    """

    def plain(value: Any) -> Any:
        value = value.tobytes() if isinstance(value, np.ndarray) else value
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value

    def run(page: Any, body: str, **given: Any) -> Any:
        script = f"async ({{{', '.join(given)}}}) => {{ {PRELUDE} {body} }}"
        return page.evaluate(script, {name: plain(value) for name, value in given.items()})

    return run


@pytest.fixture(scope="session")
def unpacked() -> Callable[..., Any]:
    """`unpacked(text, dtype=np.uint8)`: the flat array in a base64 text."""
    return lambda text, dtype=np.uint8: np.frombuffer(base64.b64decode(text), dtype)

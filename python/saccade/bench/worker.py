"""One contender in a process of its own: it answers requests, a line of JSON each, so that contenders take turns."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np

from .contenders import Contender, Task, build


def main() -> None:
    """Serve until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply

    def reply(**found: Any) -> None:
        replies.write(json.dumps(found) + "\n")
        replies.flush()

    words = json.loads(sys.stdin.readline())
    task = Task(**{**words, "size": words["size"] and tuple(words["size"])})  # JSON knows lists alone
    try:
        start = time.perf_counter()
        contender = build(task)
        batches = np.load(task.images)
        inputs = [contender.prepare(images) for images in batches]
        reply(ready=True, seconds=time.perf_counter() - start)
    except Exception as error:
        reply(ready=False, reason=" ".join(str(error).split())[:300] or type(error).__name__)
        return
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] == "answer":
                answer = contender.read(contender.run(inputs[0]))
                given: dict[str, Any] = {"logits": answer.logits, "map": answer.map}
                np.savez(asked["out"], **{k: v for k, v in given.items() if v is not None})
                reply(scaled=answer.scaled)
            elif asked["do"] == "turn":
                reply(**turn(contender, inputs, asked["calls"], asked["first"], task.device))
            else:
                reply(**memory(task.device))
        except Exception as error:  # out of memory with this batch, for one
            reply(failed=" ".join(str(error).split())[:300] or type(error).__name__)


def turn(contender: Contender, inputs: list[Any], calls: int, first: int, device: str) -> dict[str, Any]:
    """Some calls, one after another, each with another input.

    Returns:
        `wall`: seconds of each call, until its answer is there. `gpu`: seconds between CUDA events around each, where
        torch ran it on a GPU. `cpu`: seconds of CPU in all.
    """
    wait, events = _cuda(device)
    walls, gpu = [], []
    cpu = time.process_time()
    for i in range(first, first + calls):
        wait()
        start, pair = time.perf_counter(), events()
        if pair:
            pair[0].record()
        contender.run(inputs[i % len(inputs)])
        if pair:
            pair[1].record()
        wait()
        walls.append(time.perf_counter() - start)
        if pair:
            gpu.append(pair[0].elapsed_time(pair[1]) / 1000)
    return {"wall": walls, "gpu": gpu, "cpu": time.process_time() - cpu}


def memory(device: str) -> dict[str, float]:
    """Peak memory of the process in MiB, and that of torch on the GPU."""
    try:  # getrusage's figure is at least the parent's, whose memory a new process has for a moment
        with open("/proc/self/status", encoding="ascii") as file:
            found = {"peak_mib": next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))}
    except (OSError, StopIteration):
        found = {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if device == "cuda" and (torch := sys.modules.get("torch")) is not None:
        found["torch_gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def _cuda(device: str) -> Any:
    torch = sys.modules.get("torch")
    if device != "cuda" or torch is None or not torch.cuda.is_available():
        return (lambda: None), (lambda: None)
    return torch.cuda.synchronize, lambda: [torch.cuda.Event(enable_timing=True) for _ in range(2)]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()

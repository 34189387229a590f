"""How many operators compiled programs have: what does not depend on the machine, and shows when a graph gets longer.

    python benchmarks/operators.py            # count, and compare with what is committed
    python benchmarks/operators.py --write    # after a change that is meant: commit the new counts

Another version of torch traces other operators, so counts are compared with those of the same version only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from saccade.engine.compiler import compiling, load_model
from saccade.engine.compiler.folding import fold_batch_norm
from saccade.engine.compiler.network import short_name
from saccade.engine.compiler.targets import Target
from saccade.engine.compiler.trace import trace

COUNTS = Path(__file__).resolve().parent / "results" / "operators.json"
PROGRAMS = dict.fromkeys(("squeezenet1_0", "resnet18", "mobilenet_v2"), ("grad-cam", "saliency"))


def main() -> None:
    """Compare, or write with --write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="commit to the counts of now")
    found = measure()
    if parser.parse_args().write:
        COUNTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    wanted = json.loads(COUNTS.read_text(encoding="utf-8"))
    if found["torch"] != wanted["torch"]:
        sys.exit(f"the counts are of torch {wanted['torch']}, this is {found['torch']}")
    different = differences(found, wanted)
    print("\n".join(different) or "as committed")
    sys.exit(bool(different))


def measure() -> dict[str, Any]:
    """Operators by name, of each network's forward pass alone and of each program."""
    counts = {}
    for name, methods in PROGRAMS.items():
        model = load_model(f"torchvision/{name}", "random")
        counts[f"{name}, forward"] = count(model, ())
        counts |= {f"{name}, {method}": count(model, (method,)) for method in methods}
    return {"torch": torch.__version__.partition("+")[0], "operators": counts}


def count(model: Any, methods: tuple[str, ...]) -> dict[str, int]:
    """Operators of the graph that is written into a file."""
    requests = compiling.make_requests(model.network, methods, None, Target()) if methods else []
    network, _ = fold_batch_norm(model.network, model.preprocessing, {r.node for r in requests})
    requests = compiling.make_requests(network, methods, None, Target()) if methods else []
    graph = trace(network, model.preprocessing, requests, Target()).module.graph
    return dict(sorted(Counter(short_name(n.target) for n in graph.nodes if n.op == "call_function").items()))


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What is not as committed, in words."""
    lines = []
    for program in sorted(found["operators"].keys() | wanted["operators"].keys()):
        a, b = (Counter(counts["operators"].get(program, {})) for counts in (found, wanted))
        changed = [f"{name} {b[name]} → {a[name]}" for name in sorted(a | b) if a[name] != b[name]]
        if changed:
            lines.append(f"{program}: {a.total()} operators, not {b.total()}: {', '.join(changed)}")
    return lines


if __name__ == "__main__":
    main()

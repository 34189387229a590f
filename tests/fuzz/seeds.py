"""Write the corpus's seeds: tiny programs of each kind and what their contracts say. `python tests/fuzz/seeds.py`

The other files of the corpus are what libFuzzer found on top of them and kept (`run.py --merge`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import get_args

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "embedding"))

from readers import SPECS, write_body  # noqa: E402

from saccade.engine.contract.program_file import Format, append_contract  # noqa: E402


def main() -> None:
    """Write them into corpus/contract and corpus/json."""
    for folder in ("contract", "json"):
        (HERE / "corpus" / folder).mkdir(parents=True, exist_ok=True)
    for name, spec in SPECS.items():
        (HERE / "corpus" / "json" / f"seed_{name}").write_text(spec.to_json(), encoding="utf-8", newline="")
    with tempfile.TemporaryDirectory() as folder:
        for kind in get_args(Format):
            path = write_body(Path(folder) / "program", kind)
            append_contract(path, kind, SPECS["class"])
            (HERE / "corpus" / "contract" / f"seed_{kind}").write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()

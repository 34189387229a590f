"""The audit: does the network look at the thing itself, or at something that goes with it?

    from saccade.audit import audit

    findings = audit("OUT", out="OUT/audit")       # OUT: the folder of a run
    findings.verdict                               # "shortcut", "suspect" or "clear"

Importing this package loads nothing heavy; what is named below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auditing import audit
    from .findings import ClassFindings, Example, Findings, Interval, Strategy, Suspect, Trial

__all__ = ["ClassFindings", "Example", "Findings", "Interval", "Strategy", "Suspect", "Trial", "audit"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'saccade.audit' has no attribute {name!r}")
    return getattr(importlib.import_module(".auditing" if name == "audit" else ".findings", __name__), name)

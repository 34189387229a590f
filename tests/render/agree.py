"""How these tests compare pictures."""

from __future__ import annotations

from typing import Any

import numpy as np


def identical(got: Any, wanted: Any) -> None:
    """Same shape, same type, every element equal."""
    assert got.shape == wanted.shape, f"shape {got.shape}, expected {wanted.shape}"
    assert got.dtype == wanted.dtype, f"dtype {got.dtype}, expected {wanted.dtype}"
    differ = int((got != wanted).sum())
    assert differ == 0, f"{differ} of {got.size} elements differ"


def within(got: Any, wanted: Any, levels: int) -> None:
    """Same shape, both uint8, no element further off than `levels`."""
    assert got.shape == wanted.shape, f"shape {got.shape}, expected {wanted.shape}"
    assert got.dtype == wanted.dtype == np.uint8
    off = int(np.abs(got.astype(int) - wanted.astype(int)).max(initial=0))
    assert off <= levels, f"off by {off} levels, expected at most {levels}"


def off_by_one_at_most_seldom(got: Any, wanted: Any, share: float) -> None:
    """Within one level, and at all different in no more than `share` of the elements."""
    within(got, wanted, 1)
    differ = float((got != wanted).mean())
    assert differ <= share, f"{differ:.3%} of the elements differ, expected at most {share:.3%}"

"""Every comparison helper is fed a wrong answer once: one that cannot fail proves nothing."""

import numpy as np
import pytest
from agree import identical, off_by_one_at_most_seldom, within

RIGHT = np.full((2, 50), 7, np.uint8)


def test_right_answers_pass():
    identical(RIGHT, RIGHT.copy())
    within(RIGHT + np.uint8(1), RIGHT, 1)
    almost = RIGHT.copy()
    almost[0, 0] = 8
    off_by_one_at_most_seldom(almost, RIGHT, 0.01)


@pytest.mark.parametrize("wrong", [RIGHT + np.uint8(1), RIGHT[:1], RIGHT.astype(np.int64)])
def test_identical_sees_a_difference(wrong: np.ndarray):
    with pytest.raises(AssertionError):
        identical(wrong, RIGHT)


@pytest.mark.parametrize("wrong", [RIGHT + np.uint8(2), RIGHT - np.uint8(2), RIGHT[:1], RIGHT.astype(np.int64)])
def test_within_sees_a_difference(wrong: np.ndarray):
    with pytest.raises(AssertionError):
        within(wrong, RIGHT, 1)


def test_seldom_sees_too_many():
    with pytest.raises(AssertionError, match="differ"):
        off_by_one_at_most_seldom(RIGHT + np.uint8(1), RIGHT, 0.5)

"""Parity of the large networks, random weights: two and few photos by default, all and 64 in `pytest -m slow`."""

import check_parity as check
import parity
import pytest

RANDOM = [name for name, s in parity.SUBJECTS.items() if not s.trained]
QUICK = ("alexnet", "resnet18")  # VGG-16 alone takes 7 GB and minutes; it is in the slow matrix with the others


@pytest.mark.parametrize("name", QUICK)
def test_program_is_as_exact_as_eager_and_has_one_forward(name: str, tmp_path):
    check.check_everything(name, tmp_path, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", RANDOM)
def test_program_is_as_exact_as_eager_over_64_photos(name: str, tmp_path):
    check.save_report(name, check.check_everything(name, tmp_path, 64))

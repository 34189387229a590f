"""Parity of the trained networks over 64 photos."""

import check_parity as check
import parity
import pytest

TRAINED = [name for name, s in parity.SUBJECTS.items() if s.trained]


@pytest.mark.data
@pytest.mark.parametrize("name", TRAINED)
def test_program_is_as_exact_as_eager_and_has_one_forward(name: str, tmp_path):
    check.save_report(name, check.check_everything(name, tmp_path, 64))

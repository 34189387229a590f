"""A card's mark: held against the label where the network's answer is a class."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.engine.contract import MapSpec, Preprocessing, Spec
from saccade.engine.render import Caption, Gallery, Look, percent

SPEC = Spec("net", "", Preprocessing(4, 4), (MapSpec("grad_cam", "grad-cam", "body", "cam", (2, 2)),), None, 2)


@pytest.mark.parametrize(
    ("label", "predicted", "mark"),
    [("cat", "cat", "good"), ("cat", "dog", "bad"), ("tumour", None, None), (None, "cat", None)],
)
def test_marks(label: str | None, predicted: str | None, mark: str | None):
    gallery = Gallery(SPEC, Look(), [0])
    caption = Caption(0, "a.jpg", label, "tumour on 3.0%", None, predicted)
    gallery.add([caption], np.zeros((1, 4, 4, 3), np.uint8), {"grad_cam": np.ones((1, 2, 2), np.float32)})
    assert gallery.cells[0].mark == mark
    assert gallery.cells[0].title == "tumour on 3.0%"


def test_a_share_that_is_not_quite_all_does_not_read_as_all():
    shares = (0, 1e-9, 0.004, 0.005, 0.5, 0.994, 0.995, 0.99999, 1)
    assert [percent(s) for s in shares] == ["0%", "<1%", "<1%", "<1%", "50%", "99%", ">99%", ">99%", "100%"]

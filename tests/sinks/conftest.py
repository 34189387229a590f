"""A program's contract and what it would give, small and random."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pytest

from saccade.engine.contract import ATTRIBUTES, FACTS, Batch, Maps, MapSpec, Preprocessing, Record, Spec


@pytest.fixture
def spec() -> Spec:
    return Spec(
        model="torchvision/resnet18",
        weights_hash="sha256:0",
        preprocessing=Preprocessing(30, 45, 3, "crop", 50),
        maps=(
            MapSpec("grad_cam", "grad-cam", "layer4", "cam", (7, 7)),
            MapSpec("saliency", "saliency", "input", "gradient", (30, 45)),
            MapSpec("activations", "feature-maps", "layer1", "activations", (4, 3, 2)),
        ),
        features=5,
        num_outputs=3,
        classes=("cat", "dog", "o'wl; drop table x"),
    )


@pytest.fixture
def make_batch(spec: Spec) -> Callable[..., tuple[Batch, Maps]]:
    """`make_batch(first, count, bad)`: consecutive photos, those in `bad` with an error, and their maps."""
    rng = np.random.default_rng(11)

    def random(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    def make(first: int, count: int, bad: Collection[int] = ()) -> tuple[Batch, Maps]:
        records = []
        for i in range(first, first + count):
            if i in bad:
                records.append(Record(i, f"/photos/{i}.jpg", f"{i}.jpg", error=f"decode: {i}.jpg is empty"))
            else:
                attributes: dict[str, float] = {name: rng.random() for name in ATTRIBUTES}
                view = (1.5, -2.0, 99.25, 50.0)
                record = Record(i, f"/photos/{i}.jpg", f"{i}.jpg", "cat", size=(100 + i, 50), view=view)
                record.attributes = attributes
                record.facts = {name: f"{name} {i}" if FACTS[name] == "string" else i + 1 for name in FACTS}
                record.facts["exif_make"] = None
                records.append(record)
        good = sum(r.error is None for r in records)
        maps = {m.name: random(good, *m.shape) * 10.0 ** rng.integers(-12, 9) for m in spec.maps}
        maps = {name: values.astype(np.float32) for name, values in maps.items()}
        maps["activations"] *= rng.choice(np.array([-1, 1], np.float32), maps["activations"].shape)
        logits = rng.normal(0, 3, (good, spec.num_outputs)).astype(np.float32)
        target = rng.integers(0, spec.num_outputs, good)
        return Batch(records, np.zeros((good, 30, 45, 3), np.uint8)), Maps(
            logits, target, maps, random(good, 5), logits[np.arange(good), target]
        )

    return make

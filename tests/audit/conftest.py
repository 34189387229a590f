"""Small runs whose evidence is made up: what the network predicted, where it looked and at what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from saccade.engine.contract import Batch, Maps, MapSpec, Preprocessing, Record, Spec
from saccade.engine.sinks import EvidenceWriter

CLASSES = ("tank", "woods", "car")


def make_spec(
    features: int | None, shape: tuple[int, int], classes: Sequence[str] | None = CLASSES, **more: Any
) -> Spec:
    return Spec(
        model="tests:network",
        weights_hash="sha256:0",
        preprocessing=Preprocessing(32, 32, 3, "stretch"),
        maps=(MapSpec("grad_cam", "grad-cam", "layer4", "cam", shape),),
        features=features,
        num_outputs=len(classes or CLASSES),
        classes=None if classes is None else tuple(classes),
        **more,
    )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run(predicted, …)`: the folder of a run over as many images.

    Args:
        predicted: N class indices; None for an image with an error.
        maps: float32 [N, h, w], by default ones on 4×4.
        features: float32 [N, C], by default none.
        labels: N texts or nulls, by default none.
        names: N names, by default 0.jpg, 1.jpg, ….
        attributes: name → N numbers.
        further: name → N values or nulls.
        sizes: N of (width, height).
        explained: the class that the maps are of, by default the predicted ones.
        classes: the classes' names, or None.
        shard: images in a shard.
        name: the folder's.
        spec: fields of the contract.
    """

    def make(
        predicted: Sequence[int | None],
        maps: np.ndarray | None = None,
        features: np.ndarray | None = None,
        labels: Sequence[str | None] | None = None,
        names: Sequence[str] | None = None,
        attributes: Mapping[str, Sequence[float]] | None = None,
        further: Mapping[str, Sequence[Any]] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        explained: int | None = None,
        classes: Sequence[str] | None = CLASSES,
        shard: int = 100,
        name: str = "run",
        **spec: Any,
    ) -> Path:
        count = len(predicted)
        maps = np.ones((count, 4, 4), np.float32) if maps is None else maps.astype(np.float32)
        contract = make_spec(None if features is None else features.shape[1], maps.shape[1:], classes, **spec)
        kinds = {key: pa.array([v for v in values if v is not None]).type for key, values in (further or {}).items()}
        for number, first in enumerate(range(0, max(count, 1), shard)):
            rows = range(first, min(first + shard, count))
            records = [
                Record(
                    i,
                    f"/photos/{i}.jpg",
                    names[i] if names else f"{i}.jpg",
                    labels[i] if labels else None,
                    further={key: values[i] for key, values in (further or {}).items()},
                    size=sizes[i] if sizes else (64, 48),
                    view=(0.0, 0.0, 64.0, 48.0),
                    attributes={key: float(values[i]) for key, values in (attributes or {}).items()},
                    error="decode: it is empty" if predicted[i] is None else None,
                )
                for i in rows
            ]
            good = [i for i in rows if predicted[i] is not None]
            chosen = np.array([predicted[i] for i in good], np.int64)
            logits = 3 * np.eye(contract.num_outputs, dtype=np.float32)[chosen]
            found = Maps(
                logits,
                chosen if explained is None else np.full_like(chosen, explained),
                {"grad_cam": maps[good]},
                None if features is None else features[good].astype(np.float32),
                logits.max(axis=1, initial=0),
            )
            with EvidenceWriter(tmp_path / name, contract, shard=number, further=kinds) as writer:
                writer.write(Batch(records, np.zeros((len(good), 32, 32, 3), np.uint8)), found if good else None)
        return tmp_path / name

    return make

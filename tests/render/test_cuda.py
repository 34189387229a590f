"""The GPU's pictures are the reference's, byte for byte; without a GPU, what is said instead.

The kernels' arithmetic itself is tested on every machine, in tests/cpp/cuda_test.cpp.
"""

from typing import Any

import numpy as np
import pytest
from agree import identical

from saccade.engine import render
from saccade.engine.contract import UsageError
from saccade.engine.render import cuda, reference


@pytest.fixture
def torch() -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU, and torch sees none")
    if not cuda.built():
        pytest.skip("needs a build with CUDA; install nvcc and build again")
    return torch


def scene(n: int, source: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(2)
    maps = rng.standard_normal((n, *source)).astype(np.float32)
    maps[0, 0, 0] = np.nan
    return maps, reference.value_ranges(maps[:, None])[:, 0], rng.integers(0, 256, (n, *size, 3), dtype=np.uint8)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(224, 224), (31, 77), (2, 1)])
@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
@pytest.mark.parametrize("boxed", [False, True])
def test_overlay_is_the_references(torch: Any, size: tuple[int, int], sampling: render.Sampling, boxed: bool):
    maps, ranges, photos = scene(5, (7, 6), size)
    places = np.array([(0, i * size[0]) for i in range(5)])
    boxes = np.tile([-3.5, 2.25, size[1] - 0.5, size[0] + 7.0], (5, 1)) if boxed else None
    colours = render.colormap("turbo")
    wanted = np.zeros((5 * size[0], size[1] + 1, 3), np.uint8)
    reference.overlay(wanted, maps, ranges, photos, size, places, colours, 77, sampling, boxes)
    stream = torch.cuda.Stream()
    given = [torch.from_numpy(a).cuda() for a in (maps, ranges, photos, places)]
    frames = None if boxes is None else torch.from_numpy(boxes).cuda()
    canvas = torch.zeros(wanted.shape, dtype=torch.uint8, device="cuda")
    stream.wait_stream(torch.cuda.current_stream())
    m, r, p, at = given
    cuda.overlay(canvas, m, r, p, size, at, colours, 77, sampling, frames, stream=stream.cuda_stream)
    stream.synchronize()
    identical(canvas.cpu().numpy(), wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("count", [1, 12, 100])
def test_ranges_and_tiles_are_the_references(torch: Any, count: int):
    maps, _, _ = scene(count, (14, 9), (1, 1))
    on_gpu = torch.from_numpy(maps).cuda()
    ranges = torch.empty(count, 2, device="cuda")
    canvas = torch.empty((*cuda.grid_size(count, (28, 18), 8), 3), dtype=torch.uint8, device="cuda")
    stream = torch.cuda.current_stream().cuda_stream
    for scope in ("map", "batch"):
        cuda.value_ranges(on_gpu[:, None], ranges, scope, stream=stream)
        wanted = reference.value_ranges(maps[:, None], scope)[:, 0]
        identical(ranges.cpu().numpy(), wanted)
    cuda.tile(canvas, on_gpu, ranges, (28, 18), 8, stream=stream)
    gray = render.colormap("gray")
    identical(canvas.cpu().numpy(), reference.tile(maps, wanted, (28, 18), 8, 2, (255, 255, 255), gray))


class _OnGpu:
    """Says that it lies on a GPU, and gives what is no tensor there."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **_: Any) -> Any:
        return np.zeros((1, 2, 2), np.float32).__dlpack__()


def test_memory_that_is_not_the_gpus_is_refused():
    maps, ranges, _ = scene(1, (2, 2), (1, 1))
    canvas = np.zeros((4, 4, 3), np.uint8)
    wanted = "NVIDIA GPU's memory" if cuda.built() else "no CUDA"
    for given in (maps, _OnGpu()):
        with pytest.raises(UsageError, match=wanted) as caught:
            cuda.tile(canvas if given is maps else _OnGpu(), given, ranges, (2, 2), 1, 1)
        assert "\n" not in str(caught.value)

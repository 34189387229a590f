"""Photos to batches: a pool of threads decodes the next batches while the consumer works on this one."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ..contract import Batch, PhotoError, Preprocessing, Record
from .attributes import attributes
from .entry import Photo
from .photo import Mode, read_view
from .storage import Storage


def batches_of(
    photos: Sequence[Photo], size: int, begin: int = 0, end: int | None = None
) -> Iterator[tuple[int, Sequence[Photo]]]:
    """Cut photos `begin` to `end` of a list or a manifest into batches for a `Decoder`, (index of the first, photos).

    Raises:
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"a batch must have 1 photo or more; got {size}")
    end = len(photos) if end is None else min(end, len(photos))
    return ((first, photos[first : min(first + size, end)]) for first in range(begin, end, size))


class Decoder:
    """Iterate over batches in the given order; the same batches whatever the number of threads.

    Use it in a `with` block, which stops the threads however the block is left; a photo that is being decoded is
    finished, no other is begun. It goes through the batches once.

    At any time, `ahead` batches at most are decoded or being decoded beyond the one handed out last.

    Args:
        batches: photos of each batch, with the index of its first; the others' follow. One more is asked for only when
            one is handed out, by the thread that takes it, which waits as long as the answer takes.
        preprocessing: the network's input, [H, W, C].
        mode: "fast" or "exact", see `read_view`.
        threads: size of the pool, by default the number of CPUs.
        ahead: how many batches to work ahead, 1 or more.
        storage: what reads the photos; by default one of its own, which it closes.

    Raises:
        ValueError: `threads` or `ahead` is below 1.
    """

    def __init__(
        self,
        batches: Iterable[tuple[int, Sequence[Photo]]],
        preprocessing: Preprocessing,
        mode: Mode = "fast",
        threads: int | None = None,
        ahead: int = 2,
        storage: Storage | None = None,
    ) -> None:
        if ahead < 1 or (threads is not None and threads < 1):
            raise ValueError(f"threads and ahead must be 1 or more; got {threads}, {ahead}")
        self._batches = iter(batches)
        self._preprocessing = preprocessing
        self._mode: Mode = mode
        self._storage, self._own = storage or Storage(), storage is None
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="saccade-decode")
        self._waiting: deque[tuple[list[Future[Record]], npt.NDArray[np.uint8]]] = deque()
        try:
            for _ in range(ahead):
                self._submit()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Decoder:
        return self

    def __next__(self) -> Batch:
        """The next batch: records for all its photos, images for those that could be decoded.

        Raises:
            SourceError: where the photos come from went away.
        """
        if not self._waiting:
            self.close()
            raise StopIteration
        futures, images = self._waiting.popleft()
        try:
            records = [future.result() for future in futures]
            self._submit()
        except BaseException:  # Ctrl-C while waiting, or a fault of the program: no thread stays behind
            self.close()
            raise
        good = [i for i, record in enumerate(records) if record.error is None]
        return Batch(records, images if len(good) == len(records) else images[good])

    def close(self) -> None:
        """Stop the threads and wait for them; it may be called again."""
        self._stop.set()
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._own:
            self._storage.close()

    def _submit(self) -> None:
        first, photos = next((batch for batch in self._batches if batch[1]), (0, ()))
        if not photos:
            return
        p = self._preprocessing
        images = np.empty((len(photos), p.height, p.width, p.channels), np.uint8)
        futures = [self._pool.submit(self._decode, first + i, photo, images[i]) for i, photo in enumerate(photos)]
        self._waiting.append((futures, images))

    def _decode(self, index: int, photo: Photo, image: npt.NDArray[np.uint8]) -> Record:
        """Fill `image` [H, W, C] and describe the photo; runs in the pool."""
        record = Record(
            index, photo.path, photo.name, photo.label, photo.member, photo.offset, photo.length, photo.further
        )
        if self._stop.is_set():
            return record
        start = time.perf_counter()

        def view(source: str | bytes) -> np.ndarray:
            name = None if isinstance(source, str) else photo.place
            pixels, record.size, record.view, record.facts = read_view(source, self._preprocessing, self._mode, name)
            return pixels

        try:
            pixels = self._storage.read(photo, view, self._stop)
        except PhotoError as error:
            record.error = str(error)
        else:
            image[:] = pixels
            record.attributes = attributes(pixels)
        record.seconds = time.perf_counter() - start
        return record

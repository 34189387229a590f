"""Photos to batches: a pool of threads decodes the next batches while the consumer works on this one."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ..contract import Batch, PhotoError, Preprocessing, Record
from .attributes import attributes
from .photo import Mode, read_view
from .sources import Photo


class Decoder:
    """Iterate over batches in the manifest's order; the same batches whatever the number of threads.

    Use it in a `with` block, which stops the threads however the block is left; a photo that is being decoded is
    finished, no other is begun. It goes through the photos once.

    At any time, `ahead` batches at most are decoded or being decoded beyond the one handed out last.

    Args:
        photos: the manifest.
        preprocessing: the network's input, [H, W, C].
        batch_size: photos per batch; the last one may have fewer.
        mode: "fast" or "exact", see `read_view`.
        threads: size of the pool, by default the number of CPUs.
        ahead: how many batches to work ahead, 1 or more.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        preprocessing: Preprocessing,
        batch_size: int,
        mode: Mode = "fast",
        threads: int | None = None,
        ahead: int = 2,
    ) -> None:
        if batch_size < 1 or ahead < 1 or (threads is not None and threads < 1):
            raise ValueError(f"batch_size, threads and ahead must be 1 or more; got {batch_size}, {threads}, {ahead}")
        self._photos = photos
        self._preprocessing = preprocessing
        self._batch_size = batch_size
        self._mode: Mode = mode
        self._next = 0
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="saccade-decode")
        self._waiting: deque[tuple[list[Future[Record]], npt.NDArray[np.uint8]]] = deque()
        for _ in range(ahead):
            self._submit()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Decoder:
        return self

    def __next__(self) -> Batch:
        """The next batch: records for all its photos, images for those that could be decoded."""
        if not self._waiting:
            self.close()
            raise StopIteration
        futures, images = self._waiting.popleft()
        try:
            records = [future.result() for future in futures]
        except BaseException:  # Ctrl-C while waiting, or a fault of the program: no thread stays behind
            self.close()
            raise
        self._submit()
        good = [i for i, record in enumerate(records) if record.error is None]
        return Batch(records, images if len(good) == len(records) else images[good])

    def close(self) -> None:
        """Stop the threads and wait for them; it may be called again."""
        self._stop.set()
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        first = self._next
        photos = self._photos[first : first + self._batch_size]
        if not photos:
            return
        self._next = first + len(photos)
        p = self._preprocessing
        images = np.empty((len(photos), p.height, p.width, p.channels), np.uint8)
        futures = [self._pool.submit(self._decode, first + i, photo, images[i]) for i, photo in enumerate(photos)]
        self._waiting.append((futures, images))

    def _decode(self, index: int, photo: Photo, image: npt.NDArray[np.uint8]) -> Record:
        """Fill `image` [H, W, C] and describe the photo; runs in the pool."""
        record = Record(index, photo.path, photo.name, photo.label)
        if self._stop.is_set():
            return record
        try:
            pixels, record.size, record.view = read_view(photo.path, self._preprocessing, self._mode)
        except PhotoError as error:
            record.error = str(error)
        else:
            image[:] = pixels
            record.attributes = attributes(pixels)
        return record

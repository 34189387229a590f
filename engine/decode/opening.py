"""Opening a photo that may be anything: one clear line for each way in which it can be wrong."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, PpmImagePlugin

from ..contract import PhotoError

MAX_PIXELS = 178_956_970
"""Photos with more pixels are refused from their header, before memory is taken (Pillow's own hard limit)."""

MAX_BYTES = 2**31
"""Files with more bytes are refused; a photo of `MAX_PIXELS` does not need them."""

MAX_HELD = 3 * MAX_PIXELS + 2**20
"""Photos that are no files of their own are read into memory, where they may have the bytes of `MAX_PIXELS` as RGB."""

# Damaged metadata is frequent and harmless here, and Pillow warns of it by text that differs from file to file, so a
# run over many photos would fill the terminal. A filter for the process: those for a block are not safe in threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.(Jpeg|Png|Tiff|WebP|Gif)ImagePlugin")

_Factory = Callable[[IO[bytes]], ImageFile.ImageFile]


Readable = str | os.PathLike[str] | bytes
"""A photo's file, or its content."""


@contextlib.contextmanager
def opened(source: Readable, name: str | None = None) -> Iterator[ImageFile.ImageFile]:
    """Open a photo (its first frame) and check its size; pixels are decoded by whatever first asks for them.

    Errors inside the block are taken for the photo's, as decoding happens there.

    Args:
        source: the path, or the file's bytes.
        name: what errors call it, by default the path.

    Raises:
        PhotoError: one line that names the photo, what is wrong and what to do; its cause is what the system said.
    """
    shown = on_one_line(name or ("a photo" if isinstance(source, bytes) else os.fspath(source)))
    size = _checked(len(source), shown) if isinstance(source, bytes) else _size_of_file(source, shown)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            prefix = file.read(16)
            if len(prefix) < min(size, 16):  # it has shrunk since it was asked for its size
                raise PhotoError(f"decode: {shown} is truncated ({len(prefix)} bytes of {size:,}); copy it again")
            factory = _factory(prefix, shown)
            file.seek(0)
            photo = factory(file)
            width, height = photo.size
            if width * height > MAX_PIXELS:
                raise PhotoError(_too_large(shown, f"{width}×{height} pixels"))
            yield photo
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError(_too_large(shown, "of too many pixels")) from None
    except MemoryError as error:
        raise PhotoError(f"decode: {shown} does not fit into memory; make it smaller, or use fewer threads") from error
    except Exception as error:  # Pillow raises a dozen types for damaged files, IndexError and TypeError among them
        raise PhotoError(_damage(shown, size, error)) from error


def _size_of_file(path: str | os.PathLike[str], shown: str) -> int:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        if os.path.islink(path):
            target = on_one_line(os.readlink(path))
            raise PhotoError(
                f"decode: {shown} is a broken link to {target}; restore what it points to, or remove it"
            ) from error
        raise PhotoError(f"decode: {shown} does not exist; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise PhotoError(
            f"decode: {shown} cannot be read: {reason_of(error)}; check the path and its permissions"
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise PhotoError(f"decode: {shown} is a folder, not a photo; name the photos in it")
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
        raise PhotoError(f"decode: {shown} is not an ordinary file; remove it")
    return _checked(status.st_size, shown)


def _checked(size: int, shown: str) -> int:
    if size == 0:
        raise PhotoError(f"decode: {shown} is empty (0 bytes); copy it again")
    if size > MAX_BYTES:
        raise PhotoError(_too_large(shown, f"{size:,} bytes"))
    return size


def _factory(prefix: bytes, shown: str) -> _Factory:
    # The formats' own classes and not Image.open: that would try dozens of other formats, and warn of large photos
    # through a global of the process.
    if prefix.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile
    if prefix.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"WEBP":
        from PIL import WebPImagePlugin

        return WebPImagePlugin.WebPImageFile
    if prefix.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        from PIL import TiffImagePlugin  # a tenth of what a run imports before its first photo

        return TiffImagePlugin.TiffImageFile
    if prefix.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile
    if prefix.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile
    if prefix[:1] == b"P" and prefix[1:2] in b"123456" and prefix[2:3].isspace():
        return PpmImagePlugin.PpmImageFile
    raise PhotoError(
        f"decode: {shown} is not a JPEG, PNG, WebP, BMP, TIFF, PPM or GIF picture, it begins with "
        f"{ascii(prefix[:10])[1:]}; convert it, or remove it"
    )


def _damage(shown: str, size: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"decode: {shown} cannot be read: {reason_of(error)}; check its permissions and the disk"
    text = str(error).lower()
    if isinstance(error, EOFError) or any(word in text for word in ("truncat", "end of file", "eof", "unpack")):
        return f"decode: {shown} is truncated ({size:,} bytes); copy it again"
    return f"decode: {shown} is damaged, or truncated ({size:,} bytes; {reason_of(error)}); copy it again"


def _too_large(shown: str, what: str) -> str:
    return f"decode: {shown} is too large ({what}; at most {MAX_PIXELS:,} pixels are decoded); make it smaller"


def reason_of(error: BaseException) -> str:
    """What went wrong, on one short line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return on_one_line(text)[:120]


def on_one_line(text: Any) -> str:
    """A path or another text, escaped where it would break the line."""
    text = str(Path(text)) if isinstance(text, os.PathLike) else str(text)
    return text if text.isprintable() else ascii(text)[1:-1]

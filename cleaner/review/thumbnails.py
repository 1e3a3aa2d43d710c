"""Thumbnails: decoded from disk when they are shown, in threads, and cached up to a number of bytes."""

from __future__ import annotations

import io
import os
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Timer

from PIL import UnidentifiedImageError

from cleaner.core.files import RefusedFile
from cleaner.core.images import read_image, upright_size
from cleaner.core.safe_images import opened_image
from cleaner.core.tasks import drawn_file

__all__ = ["Thumbnail", "Thumbnails", "make_thumbnail"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG of an image, or the reason why there is none.

    Attributes:
        data: JPEG bytes; empty after an error.
        error: the reason, for the reviewer; empty if there is an image.
        size: width and height of the image itself, for the reviewer.
    """

    data: bytes
    error: str = ""
    size: str = ""


def make_thumbnail(path: Path, size: int) -> Thumbnail:
    """Return a JPEG that fits in `size` x `size` pixels, upright, on white, never larger than the image.

    A file that cannot be decoded gives a thumbnail with an `error`, not an exception.
    """
    try:
        buffer = io.BytesIO()
        with opened_image(path) as image:
            width, height = upright_size(image)
        read_image(path, size).save(buffer, "JPEG", quality=85)
    except FileNotFoundError:
        return Thumbnail(b"", "The file is not there any more")
    except RefusedFile as error:
        return Thumbnail(b"", f"The file is not opened: {error.strerror}")
    except UnidentifiedImageError:
        return Thumbnail(b"", f"UnidentifiedImageError: cannot identify image file {path.name!r}")
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything, which the card shows
        return Thumbnail(b"", f"{type(error).__name__}: {str(error).replace(str(path), path.name)}")
    return Thumbnail(buffer.getvalue(), size=f"{width} × {height} px")


class Thumbnails:
    """The thumbnails of a dataset; thread-safe.

    Requested images are decoded before prefetched ones.

    Args:
        root: the dataset's folder.
        size: longest side in pixels.
        limit: bytes of JPEG data to cache; 16 MiB are some 1,500 thumbnails of photos.
        threads: number of images to decode at once; by default the number of cores.
        drawn: a scan's folder for `drawn_file`; an image's drawing is shown in place of its file.
    """

    def __init__(
        self,
        root: Path,
        size: int = 192,
        limit: int = 16 << 20,
        threads: int | None = None,
        drawn: Path | None = None,
    ) -> None:
        self.root = root
        self.drawn = drawn
        self.size = size
        self.limit = limit
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="thumbnail")
        self._lock = Lock()
        self._cache: OrderedDict[str, Thumbnail] = OrderedDict()
        # Images that are not decoded yet. Those that wait for a thread are also in one of the two queues.
        self._pending: dict[str, Future[Thumbnail]] = {}
        self._requested: deque[str] = deque()
        self._prefetched: deque[str] = deque()
        self._timer: Timer | None = None
        self._bytes = 0

    def get(self, paths: Iterable[str]) -> dict[str, Thumbnail]:
        """Return the thumbnail of each path, relative to the root; waits until all are decoded."""
        with self._lock:
            futures = {path: self._ask(path) for path in paths}
        return {path: future if isinstance(future, Thumbnail) else future.result() for path, future in futures.items()}

    def prefetch(self, paths: Iterable[str], after: float = 0.0) -> None:
        """Decode images that may be requested soon, starting in `after` seconds.

        Waiting images of an earlier call are dropped.
        """
        paths = list(paths)
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._drop_prefetched()
            if after:
                self._timer = Timer(after, self.prefetch, [paths])
                self._timer.daemon = True
                self._timer.start()
                return
            for path in paths:
                if path not in self._cache and path not in self._pending:
                    self._begin(path, self._prefetched)

    def _drop_prefetched(self) -> None:
        # Nobody waits for these: a requested image moves to the other queue.
        for path in self._prefetched:
            del self._pending[path]
        self._prefetched.clear()

    def _ask(self, path: str) -> Thumbnail | Future[Thumbnail]:
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        if path not in self._pending:
            self._begin(path, self._requested)
        elif path in self._prefetched:
            self._prefetched.remove(path)
            self._requested.append(path)
        return self._pending[path]

    def _begin(self, path: str, queue: deque[str]) -> None:
        self._pending[path] = Future()
        queue.append(path)
        self._pool.submit(self._work)

    def _work(self) -> None:
        with self._lock:
            if not self._requested and not self._prefetched:
                return  # the image was dropped
            path = (self._requested or self._prefetched).popleft()
            future = self._pending[path]
        thumbnail = make_thumbnail(self._file(path), self.size)
        with self._lock:
            del self._pending[path]
            # An error is not cached, so that the next page tries the file again.
            if not thumbnail.error:
                self._keep(path, thumbnail)
        future.set_result(thumbnail)

    def _file(self, path: str) -> Path:
        """Return the drawing of an image with its target, or else its file."""
        drawing = drawn_file(self.drawn, path) if self.drawn else None
        return drawing if drawing and drawing.is_file() else self.root / path

    def _keep(self, path: str, thumbnail: Thumbnail) -> None:
        self._cache[path] = thumbnail
        self._bytes += len(thumbnail.data)
        while self._bytes > self.limit and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._bytes -= len(oldest.data)

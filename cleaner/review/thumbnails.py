"""Thumbnails: opened from disk when they are shown, at reduced size, in threads, in a cache with a byte limit."""

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
from cleaner.core.images import read_image
from cleaner.core.tasks import drawn_file

__all__ = ["Thumbnail", "Thumbnails", "make_thumbnail"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG of an image, or the reason why there is none.

    Attributes:
        data: JPEG bytes; empty where there is an error.
        error: what to tell the reviewer; empty where there is an image.
    """

    data: bytes
    error: str = ""


def make_thumbnail(path: Path, size: int) -> Thumbnail:
    """A JPEG of the image that fits in `size` x `size` pixels, upright, on white; never larger than the image.

    A file that cannot be decoded is no exception but a thumbnail with an `error`.
    """
    try:
        buffer = io.BytesIO()
        read_image(path, size).save(buffer, "JPEG", quality=85)
    except FileNotFoundError:
        return Thumbnail(b"", "The file is not there any more")
    except RefusedFile as error:
        return Thumbnail(b"", f"The file is not opened: {error.strerror}")
    except UnidentifiedImageError:
        return Thumbnail(b"", f"UnidentifiedImageError: cannot identify image file {path.name!r}")
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes a decoder raise is shown on its card
        return Thumbnail(b"", f"{type(error).__name__}: {str(error).replace(str(path), path.name)}")
    return Thumbnail(buffer.getvalue())


class Thumbnails:
    """The thumbnails of a dataset; may be asked from several threads.

    What is waited for is decoded before what is only prefetched.

    Args:
        root: the dataset's folder.
        size: longest side in pixels.
        limit: bytes of JPEG data to keep; 16 MiB are some 1,500 thumbnails of photos.
        threads: how many images are decoded at once; by default as many as there are cores.
        drawn: the folder with the folder of drawings, which are shown in place of the files, where there are any.
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
        # What is not decoded yet; which of it waits for a thread stands in one of the two queues.
        self._pending: dict[str, Future[Thumbnail]] = {}
        self._now: deque[str] = deque()
        self._later: deque[str] = deque()
        self._timer: Timer | None = None
        self._bytes = 0

    def get(self, paths: Iterable[str]) -> dict[str, Thumbnail]:
        """The thumbnail of each path, relative to the root; waits for those that are not in the cache."""
        with self._lock:
            futures = {path: self._ask(path) for path in paths}
        return {path: future if isinstance(future, Thumbnail) else future.result() for path, future in futures.items()}

    def prefetch(self, paths: Iterable[str], after: float = 0.0) -> None:
        """Begin to decode images that will be asked for soon, in `after` seconds.

        They take the place of what an earlier call asked for and what is not begun yet.
        """
        wanted = list(paths)
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._forget_later()
            if after:
                self._timer = Timer(after, self.prefetch, [wanted])
                self._timer.daemon = True
                self._timer.start()
                return
            for path in wanted:
                if path not in self._cache and path not in self._pending:
                    self._begin(path, self._later)

    def _forget_later(self) -> None:
        # Nobody waits for these: what is waited for was moved to the other queue.
        for path in self._later:
            del self._pending[path]
        self._later.clear()

    def _ask(self, path: str) -> Thumbnail | Future[Thumbnail]:
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        if path not in self._pending:
            self._begin(path, self._now)
        elif path in self._later:
            self._later.remove(path)
            self._now.append(path)
        return self._pending[path]

    def _begin(self, path: str, queue: deque[str]) -> None:
        self._pending[path] = Future()
        queue.append(path)
        self._pool.submit(self._work)

    def _work(self) -> None:
        with self._lock:
            if not self._now and not self._later:
                return  # what this was for is not wanted any more
            path = (self._now or self._later).popleft()
            future = self._pending[path]
        thumbnail = make_thumbnail(self._file(path), self.size)
        with self._lock:
            del self._pending[path]
            # An error is not kept: the next look at the page tries the file again.
            if not thumbnail.error:
                self._keep(path, thumbnail)
        future.set_result(thumbnail)

    def _file(self, path: str) -> Path:
        """What is shown of an image: its file, or the drawing of it with its target."""
        drawing = drawn_file(self.drawn, path) if self.drawn else None
        return drawing if drawing and drawing.is_file() else self.root / path

    def _keep(self, path: str, thumbnail: Thumbnail) -> None:
        self._cache[path] = thumbnail
        self._bytes += len(thumbnail.data)
        while self._bytes > self.limit and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._bytes -= len(oldest.data)

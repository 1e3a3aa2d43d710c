"""Small files in the folder of a user's settings, trusted only if nobody else could have written them."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from filelock import FileLock

from cleaner.core.files import remove_leftovers, write_whole

__all__ = ["journal_key", "read_own", "settings_file", "write_own"]

_MAX_BYTES = 1 << 20
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_READABLE = stat.S_IRGRP | stat.S_IROTH
_KEY_DIGITS = 64


def settings_file(name: str) -> Path:
    """Return the path of a file in `cleaner/` in the folder of the user's settings.

    Raises:
        OSError: the system names no such folder.
    """
    variable, usual = ("APPDATA", "AppData/Roaming") if os.name == "nt" else ("XDG_CONFIG_HOME", ".config")
    folder = Path(os.environ.get(variable, ""))
    if not folder.is_absolute():
        try:
            folder = Path.home() / usual
        except RuntimeError as error:
            raise OSError(f"{variable} is not set, and you have no home folder") from error
    return folder / "cleaner" / name


def read_own(path: Path, others: int = _WRITABLE) -> bytes:
    """Read a file of settings; empty if there is none.

    Args:
        path: the file.
        others: the permissions that no other user may have on it.

    Raises:
        ValueError: another user could have written it, or it is torn, too large or no regular file.
        OSError: it cannot be read.
    """
    try:
        # O_NONBLOCK: opening a pipe must not wait.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return b""
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{str(path)!r} is no regular file; delete it")
        _check_is_own(path.parent, os.stat(path.parent), _WRITABLE)
        _check_is_own(path, status, others)
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES or not data.endswith(b"\n"):
        raise ValueError(f"{str(path)!r} is torn or larger than {_MAX_BYTES} bytes; delete it")
    return data


def write_own(path: Path, data: bytes) -> None:
    """Write a file of settings that only the user can read.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    write_whole(path, data, mode=0o600)


def journal_key(make: bool) -> bytes:
    """Return the key that signs this user's journals; empty if there is none.

    Args:
        make: make a key if there is none.

    Raises:
        ValueError: another user could know or have written the key, or the file holds no key.
        OSError: the key cannot be read or made.
    """
    path = settings_file("journal-key")
    key = _read_key(path)
    if key or not make:
        return key
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        key = _read_key(path)
        if not key:
            write_own(path, f"{secrets.token_hex(_KEY_DIGITS // 2)}\n".encode())
            key = _read_key(path)
    return key


def _read_key(path: Path) -> bytes:
    key = read_own(path, _WRITABLE | _READABLE).strip()
    if key and len(key) != _KEY_DIGITS:
        raise ValueError(f"{str(path)!r} holds no key of {_KEY_DIGITS} digits; delete it")
    return key


def _check_is_own(path: Path, status: os.stat_result, others: int) -> None:
    # Windows restricts such folders to their user.
    if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & others):
        what = "read or write" if others & _READABLE else "write to"
        raise ValueError(f"{str(path)!r} belongs to another user, or others may {what} it; restrict it to your user")

"""The file in which beat remembers when it sent what: a shelf as Celery's beat keeps it, and held by one process at a time."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import shelve
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from sedano.beat import picklenames
from sedano.exceptions import ImproperlyConfigured
from sedano.log import get_logger

_fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None  # Windows: nothing is held

logger = get_logger("celery.beat")

SUFFIXES = ("", ".db", ".dat", ".bak", ".dir")
"""What the several kinds of dbm append to the name that they are given."""


class ScheduleFileInUse(ImproperlyConfigured):
    """Another process has the schedule file open."""


class ScheduleFile(shelve.DbfilenameShelf[Any]):
    """A shelf whose values are pickled with Celery's names; see `picklenames.py`. `more` are classes that it may hold besides.

    Raises OSError and dbm.error for a file that cannot be opened.
    """

    cache: MutableMapping[str, Any]
    dict: MutableMapping[bytes, bytes]

    def __init__(self, filename: str, more: Mapping[tuple[str, str], Any] | None = None) -> None:
        self._more = more or {}
        super().__init__(filename, writeback=True)

    def __getitem__(self, key: str) -> Any:
        if key in self.cache:
            return self.cache[key]
        value = self.cache[key] = picklenames.loads(self.dict[key.encode()], self._more)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.cache[key] = value
        self.dict[key.encode()] = self._pickled(key, value)

    def sync(self) -> None:
        """Write everything. What was read or set stays as it is in memory, so that nothing is lost that has no pickle."""
        for key, value in self.cache.items():
            self.dict[key.encode()] = self._pickled(key, value)
        write = getattr(self.dict, "sync", None)
        if write is not None:
            write()

    def close(self) -> None:
        super().close()
        self.cache = {}

    def _pickled(self, key: str, value: Any) -> bytes:
        try:
            return picklenames.dumps(value)
        except (pickle.PicklingError, TypeError, AttributeError):
            if not isinstance(value, Mapping):
                raise
            # An argument or a schedule that has no pickle: they stand in the settings, and what is to be kept is the past.
            return picklenames.dumps({name: _storable(key, name, entry) for name, entry in value.items()})


def _storable(key: str, name: str, entry: Any) -> Any:
    try:
        picklenames.dumps(entry)
    except (pickle.PicklingError, TypeError, AttributeError) as exc:
        logger.debug("beat: %s %r is saved without its arguments: %s", key, name, exc)
        make, (its_name, task, last_run_at, count, *_) = entry.__reduce__()
        return make(its_name, task, last_run_at, count, 1.0)
    return entry


def files_of(filename: str) -> list[Path]:
    """The files that the shelf of this name consists of, as far as they exist."""
    return [path for suffix in SUFFIXES if (path := Path(filename + suffix)).is_file()]


def set_aside(filename: str) -> list[Path]:
    """Give the shelf's files another name, under which none exists, and return their new paths."""
    moved: list[Path] = []
    files = files_of(filename)
    number = next(
        n for n in range(1, 1_000_000) if not any(Path(f"{filename}.unreadable-{n}{suffix}").exists() for suffix in SUFFIXES)
    )
    for path in files:
        target = Path(f"{filename}.unreadable-{number}{str(path)[len(filename) :]}")
        path.rename(target)
        moved.append(target)
    return moved


class FileLock:
    """Held from the constructor until `release`: no other process has the schedule of this name meanwhile.

    Raises ScheduleFileInUse at once when one has, OSError where the file cannot be made.
    """

    def __init__(self, filename: str) -> None:
        self._path = Path(f"{filename}.lock")
        self._fd = -1
        while _fcntl is not None and not self._holds():
            pass

    def _holds(self) -> bool:
        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            _fcntl.flock(fd, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            is_it = os.fstat(fd).st_ino == self._path.stat().st_ino
        except FileNotFoundError:
            is_it = False
        except BlockingIOError:
            holder = os.read(fd, 64).decode(errors="replace").strip()
            os.close(fd)
            raise ScheduleFileInUse(
                f"the schedule file {str(self._path)[: -len('.lock')]!r} is in use by another beat (pid {holder or 'unknown'}):"
                " two of them would send everything twice. Stop that one, or give this one a file of its own with --schedule."
            ) from None
        if not is_it:  # its last holder has removed it meanwhile
            os.close(fd)
            return False
        os.truncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return True

    def release(self) -> None:
        """Let go of it. Safe twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = -1

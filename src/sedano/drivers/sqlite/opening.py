"""How a database file is opened: made where there is none, in WAL mode, with today's schema."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Generator
from urllib.parse import quote

from sedano.drivers.sqlite.checkpoints import longest_log
from sedano.drivers.sqlite.location import Location
from sedano.drivers.sqlite.schema import prepare, version_of
from sedano.exceptions import ImproperlyConfigured

if sys.platform != "win32":
    import fcntl

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
PAGE_BYTES = 2048  # settling a call touches a page of the index of results at random: half the page, half the log
KEPT_WAL_BYTES = 64 << 20
CACHED_STATEMENTS = 256


def open_database(location: Location) -> sqlite3.Connection:
    """A connection in autocommit mode that waits for nobody: every lock it meets raises at once.

    Raises sqlite3.Error, or `ImproperlyConfigured` for a file that is none of ours.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ImproperlyConfigured(
            f"the embedded store needs SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}. "
            "Use a newer Python build, or another broker."
        )
    location.check()
    _make_file(location.path)
    handle = sqlite3.connect(
        f"file:{quote(location.path)}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,  # one thread at a time: `Connection` sees to it
        cached_statements=CACHED_STATEMENTS,
    )
    try:
        _configure(handle, location)
        prepare(handle, location.path)
    except BaseException:
        handle.close()
        raise
    return handle


def pages_of_log(path: str) -> int:
    """How long the log of this file may become, by the room that its disk has now."""
    return longest_log(shutil.disk_usage(os.path.dirname(path) or ".").free, PAGE_BYTES)


def _configure(handle: sqlite3.Connection, location: Location) -> None:
    (mode,) = handle.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        version_of(handle, location.path)  # a file of another program is refused before anything is written
        handle.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        (mode,) = handle.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ImproperlyConfigured(
            f"the store {location.path} cannot work in WAL mode here (SQLite stays in {mode}): its file system has no shared "
            "memory. Put it on a local disk."
        )
    handle.execute(f"PRAGMA synchronous = {location.synchronous}")
    handle.execute("PRAGMA temp_store = MEMORY")
    handle.execute("PRAGMA secure_delete = OFF")  # SQLite's own default; some builds write zeros over all that is deleted
    most_pages = pages_of_log(location.path)
    handle.execute(f"PRAGMA wal_autocheckpoint = {most_pages}")
    handle.execute(f"PRAGMA journal_size_limit = {min(KEPT_WAL_BYTES, most_pages * PAGE_BYTES)}")
    if location.max_bytes is not None:
        (page_bytes,) = handle.execute("PRAGMA page_size").fetchone()
        handle.execute(f"PRAGMA max_page_count = {location.max_bytes // page_bytes}")


def _make_file(path: str) -> None:
    """Create the file where there is none, readable by owner and group only.

    A -wal and -shm that were left when the file alone was deleted belong to the old one: they go first.
    """
    if os.path.exists(path):
        return
    with _alone_in(os.path.dirname(path)):
        if os.path.exists(path):
            return
        for left in (f"{path}-wal", f"{path}-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(left)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o660))
        except OSError as error:
            raise ImproperlyConfigured(
                f"the store {path} cannot be made: {error.strerror}. Let this user write there, or give another path."
            ) from error


@contextlib.contextmanager
def _alone_in(folder: str) -> Generator[None]:
    """One process at a time makes files in `folder`."""
    if sys.platform == "win32":
        yield
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)

"""SQLite's errors in our words: which store, what happened, what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3

from sedano.drivers.sqlite.location import Location
from sedano.exceptions import CeleryError, ImproperlyConfigured, MessageTooLarge, OperationalError, StoreFull

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_LITTLE_BYTES = 1 << 20


def primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for an error of Python's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether others hold the lock just now: try again."""
    return primary_code(error) in _BUSY


def explain(error: sqlite3.Error, location: Location, unavailable: type[OperationalError]) -> CeleryError | None:
    """The error to raise in the place of `error`; None for one that only a mistake in this driver can cause."""
    path, code = location.path, primary_code(error)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_disk_full(path)):
        return StoreFull(_full(location))
    if code in _BUSY:
        return unavailable(
            f"the store {path} was locked by other processes for {location.busy_timeout_s:g} s. Look for a process "
            "that stopped in the middle of a step or holds a transaction open, or raise ?busy_timeout=seconds."
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return MessageTooLarge(f"the store {path} takes no value of this size (SQLite's limit is about 1 GB).")
    if code == sqlite3.SQLITE_IOERR:
        return unavailable(f"the store {path} cannot be read or written ({error}). Look at the disk and its system log.")
    if error.__class__ is sqlite3.OperationalError and not os.path.exists(path):
        return unavailable(gone(path))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return ImproperlyConfigured(_not_writable(path, error))
    if code == sqlite3.SQLITE_NOTADB:
        return ImproperlyConfigured(f"{path} is no SQLite database: give another file, or move this one away.")
    if code == sqlite3.SQLITE_CORRUPT:
        return ImproperlyConfigured(
            f"the store {path} is damaged ({error}). Stop everything that uses it, save a copy, and recover what can be "
            f"recovered: sqlite3 {path} .recover | sqlite3 new.db"
        )
    if code == sqlite3.SQLITE_NOMEM:
        return unavailable(f"there is no memory left to use the store {path}.")
    return None


def gone(path: str) -> str:
    return (
        f"the file of the store {path} was deleted, moved or replaced while it was in use. What was in it is "
        "not in the new one. Stop what uses the store before you move its file; connecting anew opens what lies there now."
    )


def _full(location: Location) -> str:
    if location.max_bytes is not None and not _is_disk_full(location.path):
        return (
            f"the store {location.path} has reached its max_bytes={location.max_bytes}: nothing was stored. "
            "Raise the limit, or let results and dead letters expire sooner."
        )
    return f"the disk of the store {location.path} is full: nothing was stored. Make room; work goes on by itself then."


def _is_disk_full(path: str) -> bool:
    try:
        return shutil.disk_usage(os.path.dirname(path)).free < _LITTLE_BYTES
    except OSError:
        return False


def _not_writable(path: str, error: sqlite3.Error) -> str:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"the store {path} cannot be opened: there is no directory {folder}. Create it first."
    if _is_read_only(folder):
        return f"the store {path} lies on a disk that is mounted read-only. Mount it for writing, or give another path."
    for place in (path, f"{path}-wal", f"{path}-shm"):
        if os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK):
            return f"the store {path} cannot be used: this user may not read and write {place}. Change its owner or mode."
    if not os.access(folder, os.W_OK):
        return f"the store {path} cannot be used: this user may not create files in {folder}. Change its owner or mode."
    return f"the store {path} cannot be opened for writing ({error}). Look at the owner, mode and disk of the file."


def _is_read_only(folder: str) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        return False

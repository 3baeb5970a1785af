"""Versions of the schema: numbered migrations, forward and backward, and what to do with a file of another version.

`PRAGMA application_id` says that a file is ours, `PRAGMA user_version` which migration it has reached. A released migration is
not edited again. The files are `migrations/<number>_<name>.forward.sql` and `.backward.sql`.
"""

from __future__ import annotations

import pkgutil
import sqlite3
from collections.abc import Sequence

import msgspec

from sedano.exceptions import ImproperlyConfigured

_ANY_TABLE = "SELECT 1 FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' LIMIT 1"
_NAMES = ("0001_store", "0002_chord_claims", "0003_parked", "0004_pauses", "0005_workflows", "0006_rates", "0007_schedules")
APPLICATION_ID = int.from_bytes(b"Sdno", "big")


class Migration(msgspec.Struct, frozen=True):
    """One step; `number` is the version that `forward` reaches and `backward` leaves."""

    number: int
    name: str
    forward: str
    backward: str


def migrations() -> list[Migration]:
    """All that this version of Sedano knows, by number."""
    return [
        Migration(
            int(name.partition("_")[0]), name.partition("_")[2], _read(f"{name}.forward.sql"), _read(f"{name}.backward.sql")
        )
        for name in _NAMES
    ]


def _read(file: str) -> str:
    # Not by importlib.resources, which takes longer to import than the rest of this driver.
    data = pkgutil.get_data("sedano.drivers.sqlite", f"migrations/{file}")
    assert data is not None
    return data.decode()


KNOWN: Sequence[Migration] = tuple(migrations())


def prepare(handle: sqlite3.Connection, path: str, known: Sequence[Migration] = KNOWN) -> None:
    """Bring an empty or older file to the newest schema, under an exclusive lock; leave one of today as it is.

    Raises `ImproperlyConfigured` for a file of another program or of a newer Sedano, and changes nothing then.
    """
    newest = known[-1].number
    if version_of(handle, path, newest) == newest:
        return
    handle.execute("BEGIN EXCLUSIVE")
    try:
        version = _version(handle, path, newest)  # another process may have been faster
        _apply(handle, version, newest, known)
        handle.execute("COMMIT")
    except BaseException:
        handle.execute("ROLLBACK")
        raise


def migrate(handle: sqlite3.Connection, path: str, target: int, known: Sequence[Migration] = KNOWN) -> None:
    """Bring the schema to version `target`, forward or backward; 0 is an empty database. Nobody else may use the store."""
    handle.execute("BEGIN EXCLUSIVE")
    try:
        _apply(handle, _version(handle, path, known[-1].number), target, known)
        handle.execute("COMMIT")
    except BaseException:
        handle.execute("ROLLBACK")
        raise


def _apply(handle: sqlite3.Connection, version: int, target: int, known: Sequence[Migration]) -> None:
    if target >= version:
        scripts = [step.forward for step in known if version < step.number <= target]
    else:
        scripts = [step.backward for step in reversed(known) if target < step.number <= version]
    for script in scripts:
        for statement in _statements(script):
            handle.execute(statement)
    handle.execute(f"PRAGMA application_id = {APPLICATION_ID if target else 0}")
    handle.execute(f"PRAGMA user_version = {target}")


def version_of(handle: sqlite3.Connection, path: str, newest: int = KNOWN[-1].number) -> int:
    """The schema's version, 0 for an empty file. Raises as `prepare` does; reads one moment, whatever others do meanwhile."""
    handle.execute("BEGIN")
    try:
        return _version(handle, path, newest)
    finally:
        handle.execute("COMMIT")


def _version(handle: sqlite3.Connection, path: str, newest: int) -> int:
    (application,) = handle.execute("PRAGMA application_id").fetchone()
    (version,) = handle.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        if application or version or handle.execute(_ANY_TABLE).fetchone() is not None:
            raise ImproperlyConfigured(
                f"{path} is a SQLite database of another program: Sedano wants a file of its own. Give another name."
            )
        return 0
    if version > newest:
        raise ImproperlyConfigured(
            f"the store {path} was written by a newer Sedano (schema {version}; this one knows up to {newest}). "
            "Upgrade Sedano here, or use another file."
        )
    return int(version)


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would end our transaction."""
    statements: list[str] = []
    lines: list[str] = []
    for line in script.splitlines():
        if not lines and (not line.strip() or line.startswith("--")):
            continue
        lines.append(line)
        if sqlite3.complete_statement("\n".join(lines)):
            statements.append("\n".join(lines))
            lines = []
    return statements

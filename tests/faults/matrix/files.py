"""SQLite: locked by a stranger, on a full disk, deleted, of another version."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from tests.faults.matrix.shapes import LEASE_S, Fault
from tests.faults.matrix.stage import NotHit, Stage

from sedano.exceptions import StoreFull
from sedano.testing.room import full_disk

SQLITE = ("sqlite",)
LARGE = "x" * 20_000


def locked(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.25)):
        stage.ends(30)
        refused = len(stage.load.errors)
        with contextlib.closing(sqlite3.connect(stage.file, isolation_level=None, timeout=10)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            time.sleep(1.5 * LEASE_S)  # the fault itself
            stranger.execute("ROLLBACK")
        stage.hit(int(len(stage.load.errors) > refused))
        stage.ends(20)


def disk_full(stage: Stage) -> None:
    stage.two_nodes()
    stage.ends(50)
    with full_disk(stage.file.parent):
        refused = 0
        deadline = time.monotonic() + 30
        while refused < 5 and time.monotonic() < deadline:
            try:
                task_id = stage.run.send("work", 0.0, argsrepr=LARGE, retry=False)
                stage.load.due[task_id] = time.monotonic()
            except StoreFull:
                refused += 1
        time.sleep(7)  # the fault itself: longer than a lease, and than a slot keeps trying a result that does not fit
    stage.hit(refused)
    stage.ends(20)


def deleted(stage: Stage) -> None:
    """What stood in the file is gone with it; what is sent afterwards is not."""
    first, _ = stage.two_nodes()
    stage.ends(stage.size.calls // 4)
    stage.load.hold()
    for name in (stage.file, Path(f"{stage.file}-wal"), Path(f"{stage.file}-shm")):
        name.unlink(missing_ok=True)
    stage.forgiven.update(stage.run.calls)
    stage.load.go_on()
    first.wait_for_line("was deleted, moved or replaced while it was in use")
    stage.hit()
    stage.ends(50)


def other_version(stage: Stage) -> None:
    """A newer Sedano has left the file at a later version of the schema: this one refuses it, and changes nothing."""
    for node in stage.two_nodes():
        node.kill()
    with contextlib.closing(sqlite3.connect(stage.file, isolation_level=None, timeout=30)) as file:
        (version,) = file.execute("PRAGMA user_version").fetchone()
        file.execute(f"PRAGMA user_version = {version + 1}")
        older = stage.node(small=True)
        older.wait_for_line("was written by a newer Sedano")
        if older.wait() == 0:
            raise NotHit
        file.execute(f"PRAGMA user_version = {version}")
    stage.hit()
    stage.two_nodes()


FAULTS = [
    Fault(
        "locked", "the file is locked by a stranger for longer than a lease", locked, SQLITE, setting="impatient", beside=True
    ),
    Fault(
        "disk-full",
        "the disk is full for longer than a lease, and has room again",
        disk_full,
        SQLITE,
        setting="small disk",
        beside=True,
    ),
    Fault("deleted", "the database file is deleted", deleted, SQLITE, forgives=True, beside=True),
    Fault("version", "an older Sedano opens the file of a newer one", other_version, SQLITE, beside=True),
]

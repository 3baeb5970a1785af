"""Versions of the file: made, migrated, or politely refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from sedano.contracts import OpenOptions, Outgoing
from sedano.drivers import sqlite
from sedano.drivers.sqlite import schema
from sedano.drivers.sqlite.schema import APPLICATION_ID, KNOWN, Migration, migrate, prepare
from sedano.exceptions import ImproperlyConfigured
from sedano.testing.contracts.messages import batch, message, task_ids

LATER = Migration(
    KNOWN[-1].number + 1,
    "later",
    "-- A remark; with a semicolon.\nCREATE TABLE later (id INTEGER, note TEXT);\nCREATE INDEX later_note ON later (note);",
    "DROP TABLE later;",
)


@pytest.fixture
def handle(tmp_path: Path) -> Generator[sqlite3.Connection]:
    handle = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    yield handle
    handle.close()


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder}/store.db"


def shape(handle: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return handle.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
    ).fetchall()


def version(handle: sqlite3.Connection) -> int:
    return int(handle.execute("PRAGMA user_version").fetchone()[0])


class TestMigrations:
    def test_given_the_migrations_when_numbered_then_they_run_from_one_without_gaps(self) -> None:
        assert [step.number for step in KNOWN] == list(range(1, len(KNOWN) + 1))

    def test_given_the_files_of_migrations_then_every_one_is_known(self) -> None:
        files = {file.name for file in (Path(schema.__file__).parent / "migrations").iterdir() if file.suffix == ".sql"}
        assert files == {f"{step.number:04}_{step.name}.{way}.sql" for step in KNOWN for way in ("forward", "backward")}

    def test_given_an_empty_file_when_prepared_then_it_has_the_newest_schema_and_our_mark(
        self, handle: sqlite3.Connection
    ) -> None:
        prepare(handle, "x")
        assert version(handle) == KNOWN[-1].number
        assert handle.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)

    def test_given_every_version_when_migrated_forward_then_it_is_the_same_as_a_fresh_one(
        self, handle: sqlite3.Connection, tmp_path: Path
    ) -> None:
        known = [*KNOWN, LATER]
        prepare(handle, "x", known)
        for start in range(1, len(known)):
            other = sqlite3.connect(tmp_path / f"from-{start}.db", isolation_level=None)
            prepare(other, "y", known[:start])
            assert version(other) == start
            prepare(other, "y", known)
            assert (shape(other), version(other)) == (shape(handle), version(handle))
            other.close()

    def test_given_each_version_when_migrated_backward_then_it_is_what_it_was_before(self, handle: sqlite3.Connection) -> None:
        known = [*KNOWN, LATER]
        shapes = [shape(handle)]
        for step in known:
            migrate(handle, "x", step.number, known)
            shapes.append(shape(handle))
        for step in reversed(known):
            migrate(handle, "x", step.number - 1, known)
            assert (shape(handle), version(handle)) == (shapes[step.number - 1], step.number - 1)

    def test_given_an_older_store_with_messages_when_opened_then_it_is_migrated_and_they_are_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        broker.publish(batch("q", "ab"))
        broker.close()
        monkeypatch.setattr(schema.prepare, "__defaults__", ((*KNOWN, LATER),))
        monkeypatch.setattr(schema.version_of, "__defaults__", (LATER.number,))
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        lease = broker.register("owner", "node")
        assert task_ids(broker.turn(lease, reserve=5, queues=["q"]).reserved) == ["a", "b"]
        broker.close()
        with sqlite3.connect(tmp_path / "store.db") as handle:
            assert version(handle) == LATER.number
        handle.close()

    def test_given_parked_calls_when_migrated_to_before_there_were_any_then_they_are_in_their_queues(
        self, tmp_path: Path
    ) -> None:
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        broker.publish(batch("q", "ab"))
        broker.publish([Outgoing(message(name), "q", due=9e9, parked="new") for name in "cd"])
        broker.close()
        with sqlite3.connect(tmp_path / "store.db", isolation_level=None) as handle:
            migrate(handle, "x", 2)
        handle.close()
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        lease = broker.register("owner", "node")
        assert task_ids(broker.turn(lease, reserve=5, queues=["q"]).reserved) == ["a", "b", "c", "d"]
        assert broker.parked(["q"]) == []
        broker.close()

    def test_given_a_migration_that_fails_when_prepared_then_nothing_of_it_is_applied(self, handle: sqlite3.Connection) -> None:
        prepare(handle, "x")
        before = shape(handle)
        broken = replace(LATER, forward=LATER.forward + "\nCREATE TABLE later (id INTEGER);")
        with pytest.raises(sqlite3.OperationalError):
            prepare(handle, "x", [*KNOWN, broken])
        assert (shape(handle), version(handle)) == (before, KNOWN[-1].number)

    def test_given_many_who_open_a_new_store_at_once_when_done_then_it_was_made_once(self, tmp_path: Path) -> None:
        def use(number: int) -> None:
            broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
            broker.publish(batch("q", [str(number)]))
            broker.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, range(16)))
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        assert broker.depth(["q"])[0].ready == 16
        broker.close()


class TestForeignFiles:
    def test_given_a_newer_store_when_opened_then_it_is_refused_and_unchanged(self, tmp_path: Path) -> None:
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        broker.queues()
        broker.close()
        handle = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        handle.execute("PRAGMA user_version = 999")
        with pytest.raises(ImproperlyConfigured, match=r"newer Sedano \(schema 999"):
            sqlite.open_broker(url_in(tmp_path), OpenOptions()).queues()
        assert version(handle) == 999
        handle.close()

    @pytest.mark.parametrize("mode", ["delete", "wal"])
    def test_given_a_database_of_another_program_when_opened_then_it_is_refused_and_unchanged(
        self, tmp_path: Path, mode: str
    ) -> None:
        handle = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        handle.execute(f"PRAGMA journal_mode = {mode}")
        handle.execute("CREATE TABLE theirs (id INTEGER)")
        before = shape(handle)
        with pytest.raises(ImproperlyConfigured, match="another program"):
            sqlite.open_broker(url_in(tmp_path), OpenOptions()).publish(batch("q", "a"))
        assert shape(handle) == before
        assert handle.execute("PRAGMA journal_mode").fetchone() == (mode,)
        handle.close()

    def test_given_a_file_that_is_no_database_when_opened_then_it_is_refused_and_unchanged(self, tmp_path: Path) -> None:
        text = "dear diary " * 1000
        (tmp_path / "store.db").write_text(text)
        with pytest.raises(ImproperlyConfigured, match="no SQLite database"):
            sqlite.open_broker(url_in(tmp_path), OpenOptions()).queues()
        assert (tmp_path / "store.db").read_text() == text

    def test_given_an_empty_file_when_opened_then_it_becomes_a_store(self, tmp_path: Path) -> None:
        (tmp_path / "store.db").touch()
        broker = sqlite.open_broker(url_in(tmp_path), OpenOptions())
        assert broker.queues() == []
        broker.close()

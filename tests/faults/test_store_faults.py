"""The store breaks, fills up, is locked, loses its memory: senders are told, workers go on, nothing accepted is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.arena import LEASE_S, Arena, arena, check
from tests.faults.producer import Producer
from tests.servers import RedisServer, is_left_out

from sedano import states
from sedano.exceptions import OperationalError, StoreFull

BACK_S = 40.0  # the promise is 10, see the unit tests of the waits; a machine that is four times slower is given its time
MIB = 1 << 20


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that loses nothing when it is killed: every write is on the disk before it is answered."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as made:
        yield made


ACKS = pytest.mark.parametrize("acks", ["early", "late"])


def wait_for_starts_after(run: Arena, moment: float, within_s: float) -> None:
    """Some call starts between `moment` (monotonic) and so many seconds later."""
    while not any(entry.at > moment for entry in run.ledger.entries()):
        if time.monotonic() > moment + within_s:
            pytest.fail(f"nothing was consumed for {within_s:g} s\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


def fill(run: Arena, body: str) -> StoreFull:
    """Send large calls until the store takes no more; what it says then."""
    for _ in range(100_000):
        try:
            run.send("work", 0.0, argsrepr=body)
        except StoreFull as exc:
            return exc
    pytest.fail("the store is never full")


# -- no room -----------------------------------------------------------------------------------------------------------


@ACKS
def test_given_a_sqlite_store_that_is_full_then_the_sender_is_told_and_the_worker_makes_room(tmp_path: Path, acks: str) -> None:
    url = f"sqlite:///{tmp_path}/store.db?max_bytes={2 * MIB}"
    with arena(tmp_path, url, url, acks) as run:
        error = fill(run, "x" * 20_000)
        assert f"{tmp_path}/store.db" in str(error)
        assert "Raise the limit" in str(error)
        assert len(run.calls) > 50
        run.node("worker", concurrency=2)
        check(run)
        run.calls.clear()
        for _ in range(10):
            run.send("work", 0.0, argsrepr="x" * 20_000)
        check(run)


@ACKS
def test_given_a_disk_that_is_full_then_the_sender_is_told_and_all_goes_on_when_there_is_room(
    tmp_path: Path, acks: str
) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    unshare = shutil.which("unshare")
    space = () if unshare is None else (unshare, "-m") if os.geteuid() == 0 else (unshare, "-r", "-m")
    shell = f"mount -t tmpfs -o size=6m none {mount}"
    if not space or subprocess.run([*space, "sh", "-c", shell], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run(
        [*space, "sh", "-c", f'{shell} && exec "$@"', "sh", sys.executable, str(script), str(mount), str(tmp_path), acks],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the disk of the store {mount}/store.db is full" in done.stdout
    assert "Make room" in done.stdout


@ACKS
def test_given_a_redis_without_memory_then_the_sender_is_told_and_the_worker_makes_room(
    server: RedisServer, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, server.url, server.url, acks) as run:
        run.send("work")
        used = next(line for line in server.command("INFO", "memory").decode().split() if line.startswith("used_memory:"))
        server.command("CONFIG", "SET", "maxmemory", int(used.partition(":")[2]) + 8 * MIB)
        error = fill(run, "x" * 100_000)
        assert "maxmemory" in str(error)
        run.node("worker", concurrency=2)
        check(run)
        run.calls.clear()
        for _ in range(10):
            run.send("work", 0.0, argsrepr="x" * 100_000)
        check(run)


# -- a file that others touch ------------------------------------------------------------------------------------------


@ACKS
def test_given_a_stranger_that_holds_the_lock_past_busy_timeout_and_lease_then_all_goes_on_afterwards(
    tmp_path: Path, acks: str
) -> None:
    url = f"sqlite:///{tmp_path}/store.db?busy_timeout=0.5"
    with arena(tmp_path, url, url, acks) as run:
        run.node("one")
        run.node("two")
        with Producer(run) as producer:
            producer.wait_for(50)
            stranger = sqlite3.connect(tmp_path / "store.db", isolation_level=None, timeout=10)
            stranger.execute("BEGIN IMMEDIATE")
            time.sleep(1.5 * LEASE_S)  # the fault itself
            stranger.execute("ROLLBACK")
            stranger.close()
            moment = time.monotonic()
            producer.wait_for(50)
        wait_for_starts_after(run, moment, BACK_S)
        assert producer.errors
        assert "was locked by other processes for 0.5 s" in str(producer.errors[0])
        check(run)


def test_given_a_database_that_is_deleted_under_a_worker_then_it_says_so_and_runs_what_is_sent_to_the_new_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    with arena(tmp_path, f"sqlite:///{path}", f"sqlite:///{path}", "early") as run:
        node = run.node("worker", concurrency=2).wait_ready()
        run.send("work")
        check(run)
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
        run.calls.clear()
        with contextlib.suppress(OperationalError):  # the first sender to notice may be told so
            run.send("work")
        for _ in range(10):
            run.send("work")
        check(run)
        node.wait_for_line("was deleted, moved or replaced while it was in use")


# -- a server that comes and goes --------------------------------------------------------------------------------------


@ACKS
def test_given_a_redis_that_is_killed_and_restarted_under_load_then_the_worker_consumes_again_and_nothing_is_lost(
    server: RedisServer, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, server.url, server.url, acks) as run:
        run.node("one", concurrency=2)
        run.node("two", concurrency=1)
        with Producer(run) as producer:
            for _ in range(3):
                producer.wait_for(60)
                server.restart()
                wait_for_starts_after(run, time.monotonic(), BACK_S)
            producer.wait_for(30)
        verdict = check(run)
        assert verdict.recorded == [], "no process died"


@ACKS
def test_given_a_redis_that_is_away_for_5_seconds_then_the_worker_says_so_and_consumes_again(
    server: RedisServer, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, server.url, server.url, acks) as run:
        node = run.node("worker", concurrency=2).wait_ready()
        for _ in range(100):
            run.send("work", 0.02)
        wait_for_starts_after(run, time.monotonic(), BACK_S)
        server.kill()
        node.wait_for_line("consumer: Connection to broker lost. Trying to re-establish the connection...")
        node.wait_for_line(r"consumer: Cannot connect to redis.*")
        time.sleep(5)  # the fault itself
        server.start()
        wait_for_starts_after(run, time.monotonic(), BACK_S)
        check(run)


def test_given_a_redis_that_is_away_at_the_start_then_the_worker_keeps_trying_and_consumes(
    server: RedisServer, tmp_path: Path
) -> None:
    with arena(tmp_path, server.url, server.url, "early") as run:
        run.send("work")
        server.kill()
        node = run.node("worker", concurrency=2)
        node.wait_for_line("consumer: Cannot connect to redis")
        node.wait_for_line(r"Trying again in \d.\d\d seconds... \(2\)")
        server.start()
        wait_for_starts_after(run, time.monotonic(), BACK_S)
        node.wait_ready()
        check(run)


@ACKS
def test_given_connections_that_are_killed_again_and_again_under_load_then_nothing_is_lost_or_doubled(
    server: RedisServer, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, server.url, server.url, acks) as run:
        run.node("one", concurrency=2)
        run.node("two", concurrency=1)
        with Producer(run) as producer:
            producer.wait_for(30)
            for _ in range(20):
                server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                producer.wait_for(10)
        verdict = check(run)
        assert verdict.recorded == [], "no process died"


def test_given_scripts_that_are_flushed_under_load_then_nothing_is_noticed(server: RedisServer, tmp_path: Path) -> None:
    with arena(tmp_path, server.url, server.url, "early") as run:
        node = run.node("worker", concurrency=2)
        with Producer(run) as producer:
            for _ in range(10):
                producer.wait_for(10)
                server.command("SCRIPT", "FLUSH")
        check(run)
        assert not producer.errors
        assert "ERROR" not in node.log()


def test_given_a_server_that_is_emptied_under_a_worker_then_it_survives_and_runs_what_is_sent_afterwards(
    server: RedisServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with arena(tmp_path, server.url, server.url, "early") as run:
        node = run.node("worker", concurrency=2).wait_ready()
        held = run.send("hold", str(gate))
        wait_for_starts_after(run, time.monotonic() - 1, 20)
        processes = node.processes()
        server.command("FLUSHALL")
        gate.touch()
        run.calls.clear()
        for _ in range(30):
            run.send("work")
        check(run)
        assert node.processes() == processes, run.logs()
        assert run.outcome(held, 0.1).state in (states.PENDING, states.SUCCESS)

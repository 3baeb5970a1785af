"""What happens to the file while it is in use: full, locked, deleted, replaced, damaged."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from sedano.contracts import Broker, OpenOptions
from sedano.drivers import sqlite
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, LeaseLost, MessageTooLarge, ResultsUnavailable, StoreFull
from sedano.testing.contracts.messages import batch, outgoing, result, settlement, task_ids

MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def broker(path: Path) -> Generator[Broker]:
    broker = opened(path)
    broker.publish(batch("q", "a"))
    yield broker
    broker.close()


def opened(path: Path, query: str = "") -> Broker:
    url = f"sqlite:///{path}{query}"
    return sqlite.open_broker(url, OpenOptions(results_url=url))


class TestMaking:
    def test_given_no_use_yet_when_opened_then_there_is_no_file(self, path: Path) -> None:
        opened(path).close()
        assert not path.exists()

    def test_given_a_new_store_when_made_then_others_cannot_read_it(self, broker: Broker, path: Path) -> None:
        for name in (path, f"{path}-wal", f"{path}-shm"):
            assert stat.S_IMODE(os.stat(name).st_mode) & 0o007 == 0

    def test_given_everybody_gone_when_closed_then_only_the_database_is_left(self, path: Path) -> None:
        one, two = opened(path), opened(path)
        one.publish(batch("q", "a"))
        two.publish(batch("q", "b"))
        one.close()
        two.close()
        assert os.listdir(path.parent) == [path.name]


class TestFull:
    def test_given_a_store_that_is_full_when_published_then_nothing_of_the_batch_is_there_and_work_goes_on(
        self, path: Path
    ) -> None:
        broker = opened(path, f"?max_bytes={MIB}")
        body = b"x" * 10_000
        accepted = itertools.count()
        with pytest.raises(StoreFull, match=f"{path.name}.*max_bytes={MIB}"):
            publish_until_refused(broker, body, accepted)
        count = next(accepted) - 1
        with pytest.raises(StoreFull):
            broker.publish(batch("other", [f"{n}" for n in range(100)], body=body))
        assert count > 10
        assert (broker.depth(["q"])[0].ready, broker.depth(["other"])[0].ready) == (count, 0)
        lease = broker.register("owner", "node")
        taken = broker.turn(lease, reserve=10, queues=["q"]).reserved
        broker.turn(lease, settle=[settlement(each) for each in taken])
        broker.publish([outgoing("q", "again", body=body)])
        assert broker.depth(["q"])[0].ready == count - 10 + 1
        broker.close()

    def test_given_a_store_that_is_full_when_a_turn_needs_room_then_nothing_of_it_is_applied(self, path: Path) -> None:
        broker = opened(path, f"?max_bytes={MIB}")
        broker.publish(batch("q", "ab"))
        lease = broker.register("owner", "node")
        a, b = broker.turn(lease, reserve=2, queues=["q"]).reserved
        with pytest.raises(StoreFull):
            broker.turn(lease, settle=[settlement(a), settlement(b, result=result("b", b"x" * 2 * MIB))])
        assert broker.depth(["q"])[0].reserved == 2
        assert broker.turn(lease, settle=[settlement(a), settlement(b)]).refused == []
        broker.close()

    def test_given_a_disk_that_is_full_when_room_is_made_then_everything_accepted_is_there_and_work_goes_on(
        self, tmp_path: Path
    ) -> None:
        mount = tmp_path / "small"
        mount.mkdir()
        found = shutil.which("unshare")
        if found is None or subprocess.run([found, "-m", "true"], capture_output=True, check=False).returncode:
            pytest.skip("only an administrator can mount a small disk")
        shell = f"mount -t tmpfs -o size=4m none {mount} && exec {sys.executable} -c '{FULL_DISK}' {mount}"
        done = subprocess.run([found, "-m", "sh", "-c", shell], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "the disk of the store" in done.stdout

    def test_given_a_message_beyond_sqlites_limit_when_published_then_it_is_refused(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sedano.drivers.sqlite.backlog.MOST_BYTES", 10_000)
        with pytest.raises(MessageTooLarge):
            broker.publish([outgoing("q", "fits"), outgoing("q", "large", body=b"x" * 20_000)])
        assert broker.depth(["q"])[0].ready == 1


FULL_DISK = """
import os, sys
from sedano.contracts import OpenOptions
from sedano.drivers import sqlite
from sedano.exceptions import StoreFull
from sedano.testing.contracts.messages import outgoing
folder = sys.argv[1]
broker = sqlite.open_broker(f"sqlite:///{folder}/store.db", OpenOptions())
broker.publish([outgoing("q", "first")])
with open(f"{folder}/filler", "wb") as filler:
    filler.write(bytes(1 << 21))
accepted, refused = 1, 0
while refused < 3:
    try:
        broker.publish([outgoing("q", "call", body=bytes(10_000))])
        accepted += 1
    except StoreFull as error:
        print(error)
        refused += 1
assert accepted > 5, accepted
assert broker.depth(["q"])[0].ready == accepted
os.unlink(f"{folder}/filler")
for _ in range(5):
    broker.publish([outgoing("q", "call", body=bytes(10_000))])
broker.reconnect()
assert broker.depth(["q"])[0].ready == accepted + 5
broker.close()
"""


class TestLocked:
    def test_given_a_stranger_that_holds_the_lock_when_the_timeout_is_over_then_the_error_says_so_and_work_goes_on_later(
        self, path: Path, broker: Broker
    ) -> None:
        stranger = sqlite3.connect(path, isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        url = f"sqlite:///{path}?busy_timeout=0.2"
        impatient, results = sqlite.open_broker(url, OpenOptions()), sqlite.open_results(url, OpenOptions())
        with pytest.raises(BrokerUnavailable, match=r"store\.db was locked by other processes for 0\.2 s"):
            impatient.publish(batch("q", "b"))
        with pytest.raises(ResultsUnavailable, match="locked"):
            results.store([result("a")])
        assert impatient.depth(["q"])[0].ready == 1
        stranger.execute("COMMIT")
        impatient.publish(batch("q", "b"))
        assert broker.depth(["q"])[0].ready == 2
        for each in (impatient, results, stranger):
            each.close()


class TestMoved:
    @pytest.mark.parametrize("way", ["deleted", "replaced", "moved"])
    def test_given_a_file_that_is_not_there_any_more_when_used_then_nothing_is_accepted_into_the_void(
        self, path: Path, broker: Broker, way: str
    ) -> None:
        lease = broker.register("owner", "node")
        remove(path, way)
        with pytest.raises(BrokerUnavailable, match="deleted, moved or replaced"):
            broker.publish(batch("q", "b"))
        broker.reconnect()
        broker.publish(batch("q", "c"))
        with pytest.raises(LeaseLost):
            broker.turn(lease, reserve=1, queues=["q"])
        lease = broker.register("owner-2", "node")
        assert task_ids(broker.turn(lease, reserve=5, queues=["q"]).reserved) == ["c"]

    def test_given_a_file_that_is_not_there_any_more_when_a_turn_is_taken_then_it_says_so(
        self, path: Path, broker: Broker
    ) -> None:
        lease = broker.register("owner", "node")
        remove(path, "deleted")
        with pytest.raises(BrokerUnavailable, match="deleted, moved or replaced"):
            broker.turn(lease, reserve=1, queues=["q"])

    def test_given_only_the_database_deleted_when_opened_anew_then_its_old_log_does_not_come_back(self, path: Path) -> None:
        broker = opened(path)
        broker.publish(batch("q", ["old"]))
        os.unlink(path)
        assert os.path.exists(f"{path}-wal")
        fresh = opened(path)
        fresh.publish(batch("q", ["new"]))
        assert fresh.depth(["q"])[0].ready == 1
        broker.close()
        fresh.publish(batch("q", ["newer"]))
        fresh.close()
        again = opened(path)
        lease = again.register("owner", "node")
        assert task_ids(again.turn(lease, reserve=5, queues=["q"]).reserved) == ["new", "newer"]
        again.close()

    def test_given_a_deleted_file_when_another_process_reads_then_it_learns_of_it(
        self, path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sedano.drivers.sqlite.connection._LOOK_AT_FILE_S", 0.0)
        remove(path, "replaced")
        with pytest.raises(BrokerUnavailable, match="deleted, moved or replaced"):
            broker.queues()
        assert broker.queues() == []


class TestUnusable:
    @pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write everywhere")
    def test_given_a_read_only_file_when_used_then_the_error_says_which(self, path: Path) -> None:
        broker = opened(path)
        broker.publish(batch("q", "a"))
        broker.close()
        path.chmod(0o400)
        with pytest.raises(ImproperlyConfigured, match="may not read and write"):
            opened(path).publish(batch("q", "b"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write everywhere")
    def test_given_a_read_only_directory_when_used_then_the_error_says_which(self, path: Path) -> None:
        path.parent.chmod(0o500)
        with pytest.raises(ImproperlyConfigured, match="cannot be made"):
            opened(path).publish(batch("q", "b"))
        path.parent.chmod(0o700)

    def test_given_a_disk_that_is_mounted_read_only_when_used_then_the_error_says_so(self, tmp_path: Path) -> None:
        found = shutil.which("unshare")
        if found is None or subprocess.run([found, "-m", "true"], capture_output=True, check=False).returncode:
            pytest.skip("only an administrator can mount a disk")
        broker = opened(tmp_path / "store.db")
        broker.publish(batch("q", "a"))
        broker.close()
        mounts = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}"
        shell = f"{mounts} && exec {sys.executable} -c '{READ_ONLY}' {tmp_path}"
        done = subprocess.run([found, "-m", "sh", "-c", shell], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "read-only" in done.stdout

    def test_given_a_damaged_file_when_used_then_the_error_says_how_to_save_what_can_be_saved(self, path: Path) -> None:
        broker = opened(path)
        broker.publish(batch("q", [str(n) for n in range(200)]))
        broker.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (os.path.getsize(path) - 4096))
        with pytest.raises(ImproperlyConfigured, match=r"damaged.*\.recover"):
            opened(path).publish(batch("q", "b"))


READ_ONLY = """
import sys
from sedano.contracts import OpenOptions
from sedano.drivers import sqlite
from sedano.exceptions import ImproperlyConfigured
from sedano.testing.contracts.messages import batch
broker = sqlite.open_broker(f"sqlite:///{sys.argv[1]}/store.db", OpenOptions())
try:
    broker.publish(batch("q", "b"))
except ImproperlyConfigured as error:
    print(error)
"""


def publish_until_refused(broker: Broker, body: bytes, numbers: Iterator[int]) -> None:
    for number in numbers:
        broker.publish([outgoing("q", f"call-{number}", body=body)])


def remove(path: Path, way: str) -> None:
    if way == "moved":
        for suffix in ("", "-wal", "-shm"):
            os.rename(f"{path}{suffix}", f"{path}.old{suffix}")
        return
    for suffix in ("", "-wal", "-shm"):
        os.unlink(f"{path}{suffix}")
    if way == "replaced":
        fresh = opened(path)
        fresh.queues()
        fresh.close()

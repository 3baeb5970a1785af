"""Waking by sockets: one sleeper for each call, none slept through, and whoever cannot be reached looks by itself."""

from __future__ import annotations

import os
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from tests.services.sqlite.stores import store_in

from sedano.drivers.sqlite import listening, wakeup
from sedano.drivers.sqlite.store import EVERYTHING, datagrams
from sedano.drivers.sqlite.wakeup import Bell, Ear, Rung, runtime_folder
from sedano.testing.contracts import Slot, StoreUnderTest
from sedano.testing.contracts.messages import batch, outgoing, result, settlement, task_ids

PROMPT_S = 2.0  # less than any look by itself


@pytest.fixture
def store(tmp_path: Path) -> Generator[StoreUnderTest]:
    with store_in(tmp_path) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Short enough for a socket's address."""
    path = f"/tmp/sd-{os.getpid()}-{time.monotonic_ns() % 10**9}"
    os.mkdir(path, 0o700)
    return path


def rows(store: StoreUnderTest, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def fall_asleep(slot: Slot, *queues: str) -> None:
    """As a slot does that found nothing, but does not stay: what is left is its row, marked idle."""
    assert slot.reserve(*queues) == []
    slot.broker.wait(queues, 0.0)


def ears(store: StoreUnderTest) -> int:
    (row,) = rows(store, "SELECT count(*) FROM listeners WHERE idle IS NOT NULL")
    return int(str(row[0]))


def is_rung(slot: Slot, *queues: str) -> bool:
    """Whether its sleep ends before it looks by itself."""
    began = time.monotonic()
    slot.broker.wait(queues, 0.05)
    return time.monotonic() - began < 0.045


class TestOneForEach:
    def test_given_four_sleepers_when_one_call_comes_then_only_the_longest_idle_wakes(self, store: StoreUnderTest) -> None:
        slots = [store.slot() for _ in range(4)]
        for slot in slots:
            fall_asleep(slot, "q")
        assert ears(store) == 4
        store.broker().publish(batch("q", "a"))
        assert ears(store) == 3
        assert [is_rung(slot, "q") for slot in slots] == [True, False, False, False]

    def test_given_four_sleepers_when_three_calls_come_then_three_wake(self, store: StoreUnderTest) -> None:
        slots = [store.slot() for _ in range(4)]
        for slot in slots:
            fall_asleep(slot, "q")
        store.broker().publish(batch("q", "abc"))
        assert [is_rung(slot, "q") for slot in slots] == [True, True, True, False]

    def test_given_sleepers_when_a_slot_sees_more_than_it_takes_then_it_wakes_one(self, store: StoreUnderTest) -> None:
        busy, sleeper, other = store.slot(), store.slot(), store.slot()
        fall_asleep(sleeper, "q")
        fall_asleep(other, "q")
        stranger = sqlite3.connect(store.url.removeprefix("sqlite:///"))
        with stranger:  # three calls of which nobody was told
            stranger.execute("INSERT INTO queues (name) VALUES ('q')")
            for number in range(1, 4):
                stranger.execute("INSERT INTO messages (id, queue, state, priority) VALUES (?, 1, 0, 0)", (number,))
                stranger.execute("INSERT INTO bodies VALUES (?, ?)", (number, b"x"))
        stranger.close()
        assert busy.turn(reserve=1, queues=["q"]).more
        assert is_rung(sleeper, "q")
        assert not is_rung(other, "nothing else")

    def test_given_sleepers_of_other_queues_when_a_call_comes_then_they_sleep_on(self, store: StoreUnderTest) -> None:
        mine, other = store.slot(), store.slot()
        fall_asleep(other, "other")
        fall_asleep(mine, "q", "q2")
        store.broker().publish(batch("q2", "a"))
        assert is_rung(mine, "q", "q2")
        assert not is_rung(other, "other")

    def test_given_a_slot_that_was_claimed_when_it_retires_instead_then_the_next_gets_the_call(
        self, store: StoreUnderTest
    ) -> None:
        leaving, staying = store.slot(), store.slot()
        fall_asleep(leaving, "q")
        fall_asleep(staying, "q")
        store.broker().publish(batch("q", "a"))
        leaving.broker.retire(leaving.lease)
        assert is_rung(staying, "q")
        assert task_ids(staying.reserve("q")) == ["a"]

    def test_given_a_slot_that_was_claimed_when_it_is_closed_instead_then_the_next_gets_the_call(
        self, store: StoreUnderTest
    ) -> None:
        leaving, staying = store.slot(), store.slot()
        fall_asleep(leaving, "q")
        fall_asleep(staying, "q")
        store.broker().publish(batch("q", "a"))
        leaving.broker.close()
        assert is_rung(staying, "q")

    def test_given_a_slot_that_was_claimed_when_it_only_settles_then_the_next_gets_the_call(
        self, store: StoreUnderTest
    ) -> None:
        busy, staying = store.slot(), store.slot()
        busy.broker.publish(batch("other", "x"))
        held = busy.take("other")
        fall_asleep(busy, "q")
        fall_asleep(staying, "q")
        store.broker().publish(batch("q", "a"))
        busy.settle(settlement(held[0]))
        assert is_rung(staying, "q")

    def test_given_a_sleeper_that_was_killed_when_a_call_comes_then_a_living_one_is_woken(self, store: StoreUnderTest) -> None:
        dead, living = store.slot(), store.slot()
        fall_asleep(dead, "q")
        fall_asleep(living, "q")
        ((address,),) = rows(store, "SELECT address FROM listeners ORDER BY id LIMIT 1")
        os.unlink(str(address))  # nobody can ring there any more, as when its process was killed
        store.broker().publish(batch("q", "a"))
        assert is_rung(living, "q")
        assert rows(store, "SELECT count(*) FROM listeners") == [(1,)]

    def test_given_a_busy_slot_when_a_call_comes_then_the_idle_one_is_woken(self, store: StoreUnderTest) -> None:
        busy, idle = store.slot(), store.slot()
        fall_asleep(busy, "q")
        fall_asleep(idle, "q")
        store.broker().publish(batch("q", "a"))
        assert task_ids(busy.reserve("q")) == ["a"]
        store.broker().publish(batch("q", "b"))
        assert is_rung(idle, "q")

    def test_given_a_slot_that_sleeps_on_when_it_looks_for_work_then_it_takes_no_lock(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        fall_asleep(slot, "q")
        stranger = sqlite3.connect(store.url.removeprefix("sqlite:///"), isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for _ in range(3):
            assert slot.reserve("q") == []
            slot.broker.wait(["q"], 0.01)
        assert time.monotonic() - began < PROMPT_S
        stranger.execute("ROLLBACK")
        stranger.close()


class TestNotReached:
    def test_given_a_call_of_which_nobody_was_told_when_a_sleeper_looks_then_it_is_found(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The publisher was killed between commit and ring."""
        monkeypatch.setattr(listening, "LOOK_S", 0.2)
        slot, producer = store.slot(), store.broker()
        fall_asleep(slot, "q")
        monkeypatch.setattr(Bell, "ring", lambda *_: Rung.HEARD)
        producer.publish(batch("q", "a"))
        began = time.monotonic()
        slot.broker.wait(["q"], 30.0)
        assert time.monotonic() - began < PROMPT_S
        assert task_ids(slot.reserve("q")) == ["a"]

    def test_given_a_sleeper_that_was_struck_off_when_it_looks_then_it_polls_from_then_on(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another container shares the file and not the directory of sockets: it takes us for dead."""
        monkeypatch.setattr(listening, "LOOK_S", 0.2)
        slot, producer = store.slot(), store.broker()
        fall_asleep(slot, "q")
        monkeypatch.setattr(Bell, "ring", lambda *_: Rung.GONE)
        for name in "ab":
            producer.publish(batch("q", name))
            began = time.monotonic()
            slot.broker.wait(["q"], 30.0)
            assert time.monotonic() - began < PROMPT_S
            assert task_ids(slot.reserve("q")) == [name]
        assert rows(store, "SELECT count(*) FROM listeners") == [(0,)]

    def test_given_a_stream_that_was_struck_off_when_a_result_comes_then_it_hears_all_the_same(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "LOOK_S", 0.2)
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a", "b"])
        monkeypatch.setattr(Bell, "ring", lambda *_: Rung.GONE)
        for name in "ab":
            results.store([result(name, name.encode())])
            began = time.monotonic()
            assert stream.wait(30.0) == [(name, name.encode())]
            assert time.monotonic() - began < PROMPT_S

    def test_given_a_mailbox_that_was_struck_off_when_it_looks_then_it_hears_what_comes_later(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "MAIL_LOOK_S", 0.2)
        bus = store.bus()
        box = store.closing(bus.open_mailbox("celery@node"))
        request = outgoing("x", "request").message
        with monkeypatch.context() as deaf:
            deaf.setattr(Bell, "ring", lambda *_: Rung.GONE)
            assert bus.broadcast(request) == 0
            assert box.receive(0.5) == []
        assert bus.broadcast(request) == 1
        assert len(box.receive(30.0)) == 1

    def test_given_listeners_that_were_killed_when_another_comes_then_they_are_struck_off(self, store: StoreUnderTest) -> None:
        stream = store.results().subscribe()
        stream.watch(["never-written"])
        ((address,),) = rows(store, "SELECT address FROM listeners")
        os.unlink(str(address))
        fall_asleep(store.slot(), "q")
        assert rows(store, "SELECT kind FROM listeners") == [("work",)]
        assert rows(store, "SELECT count(*) FROM watches") == [(0,)]
        stream.close()

    def test_given_no_ear_when_it_does_not_show_itself_then_it_is_struck_off(self, tmp_path: Path) -> None:
        with store_in(tmp_path, polls=True) as store:
            store.closing(store.bus().open_mailbox("celery@killed"))
            store.pass_time(listening.UNSEEN_S + 1)
            store.closing(store.bus().open_mailbox("celery@new"))
            assert rows(store, "SELECT name FROM listeners") == [("celery@new",)]


class TestOverflow:
    def test_given_a_stream_that_does_not_listen_when_its_ear_is_full_then_nothing_is_missed(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        stream = store.closing(results.subscribe())
        names = [f"call-{number}" for number in range(600)]
        stream.watch(names)
        for name in names:  # one ring each: more than a socket keeps
            results.store([result(name, name.encode())])
        heard: dict[str, bytes | None] = {}
        began = time.monotonic()
        while len(heard) < len(names) and time.monotonic() - began < PROMPT_S:
            heard |= dict(stream.wait(PROMPT_S))
        assert heard == {name: name.encode() for name in names}
        assert rows(store, "SELECT missed > 0 FROM listeners") == [(1,)]

    def test_given_an_id_that_fits_into_no_datagram_when_its_result_comes_then_it_is_heard_all_the_same(
        self, store: StoreUnderTest
    ) -> None:
        long, short = "x" * 100_000, "short"
        results = store.results()
        stream = store.closing(results.subscribe())
        stream.watch([long, short])
        results.store([result(long, b"1"), result(short, b"2")])
        heard: dict[str, bytes | None] = {}
        began = time.monotonic()
        while len(heard) < 2 and time.monotonic() - began < PROMPT_S:
            heard |= dict(stream.wait(PROMPT_S))
        assert heard == {long: b"1", short: b"2"}

    def test_given_writers_at_work_when_the_stream_listens_now_and_then_then_nothing_is_missed(
        self, store: StoreUnderTest
    ) -> None:
        stream = store.closing(store.results().subscribe())
        names = [f"call-{number}" for number in range(900)]
        stream.watch(names)

        def write(mine: list[str]) -> None:
            results = store.driver.open_results(store.url, store.options())
            for name in mine:
                results.store([result(name, name.encode())])
            results.close()

        threads = [threading.Thread(target=write, args=(names[part::3],)) for part in range(3)]
        for thread in threads:
            thread.start()
        heard: dict[str, bytes | None] = {}
        began = time.monotonic()
        while len(heard) < len(names) and time.monotonic() - began < 30:
            heard |= dict(stream.wait(2.5))  # shorter than a look: rings alone must do
        for thread in threads:
            thread.join()
        assert heard == {name: name.encode() for name in names}

    def test_given_an_unread_box_when_many_requests_come_then_they_are_all_read_later(self, store: StoreUnderTest) -> None:
        bus = store.bus()
        box = store.closing(bus.open_mailbox("celery@node"))
        for number in range(200):
            assert bus.broadcast(outgoing("x", f"{number}").message) == 1
        received = [message.headers["id"] for message in box.receive(PROMPT_S)]
        assert received == [f"{number}" for number in range(200)]

    def test_given_many_ids_when_they_are_put_into_datagrams_then_none_is_large_and_none_is_lost(self) -> None:
        names = [f"{number:036}" for number in range(5000)]
        parts = datagrams(names)
        assert all(len(part) <= wakeup.MOST_BYTES for part in parts)
        assert [name for part in parts for name in msgspec.msgpack.decode(part)] == names
        assert datagrams(["x" * 10_000]) == [EVERYTHING]


class TestBells:
    def test_given_an_ear_when_rung_then_it_is_readable_and_drained_once(self, folder: str) -> None:
        ear, bell = Ear(folder), Bell()
        assert bell.ring(ear.address, b"one") is Rung.HEARD
        assert bell.ring(ear.address, b"two") is Rung.HEARD
        assert select.select([ear], [], [], 0)[0] == [ear]
        assert ear.drain() == [b"one", b"two"]
        assert ear.drain() == []
        ear.close()
        bell.close()

    def test_given_a_full_ear_when_rung_then_the_bell_says_so_and_others_are_still_rung(self, folder: str) -> None:
        full, other, bell = Ear(folder), Ear(folder), Bell()
        answers = [bell.ring(full.address, b"x" * 7000) for _ in range(2000)]
        assert answers[0] is Rung.HEARD
        assert answers[-1] is Rung.FULL
        assert bell.ring(other.address, b"!") is Rung.HEARD
        assert len(full.drain()) == answers.count(Rung.HEARD)
        for each in (full, other, bell):
            each.close()

    def test_given_a_closed_ear_when_rung_then_nobody_is_there_and_its_file_is_gone(self, folder: str) -> None:
        ear, bell = Ear(folder), Bell()
        ear.close()
        assert not os.path.exists(ear.address)
        assert bell.ring(ear.address, b"!") is Rung.GONE
        assert bell.ring("", b"!") is Rung.GONE
        bell.close()

    def test_given_a_file_that_a_killed_process_left_when_rung_then_it_is_removed_but_only_in_our_own_folder(
        self, folder: str, tmp_path: Path
    ) -> None:
        ours = runtime_folder()
        assert ours is not None
        bell = Bell()
        for place, stays in ((ours, False), (folder, True)):
            left = os.path.join(place, "0-left.sock")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
                killed.bind(left)
            assert bell.ring(left, b"!") is Rung.GONE
            assert os.path.exists(left) is stays
        bell.close()

    @pytest.mark.parametrize("spoiled", ["open to others", "a file"])
    def test_given_a_runtime_folder_that_is_not_private_when_looked_for_then_it_is_not_used(
        self, folder: str, monkeypatch: pytest.MonkeyPatch, spoiled: str
    ) -> None:
        place = os.path.join(folder, "sedano")
        if spoiled == "a file":
            open(place, "w").close()
        else:
            os.mkdir(place)
            os.chmod(place, 0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        assert runtime_folder.__wrapped__() not in (place, None)

    def test_given_a_runtime_folder_when_looked_for_then_it_is_ours_and_closed_to_others(
        self, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        found = runtime_folder.__wrapped__()
        assert found == os.path.join(folder, "sedano")
        assert os.stat(found).st_mode & 0o077 == 0

    def test_given_a_folder_with_a_long_name_when_looked_for_then_a_shorter_one_is_taken(
        self, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        long = os.path.join(folder, "x" * 100)
        os.mkdir(long)
        monkeypatch.setenv("XDG_RUNTIME_DIR", long)
        monkeypatch.setenv("TMPDIR", long)
        assert len(str(runtime_folder.__wrapped__())) < 80

    def test_given_no_place_for_sockets_when_a_listener_is_made_then_it_polls(
        self, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "open_ear", lambda: None)
        slot = store.slot()
        assert slot.reserve("q") == []
        slot.broker.wait(["q"], 0.0)
        store.broker().publish(batch("q", "a"))
        began = time.monotonic()
        slot.broker.wait(["q"], 30.0)
        assert time.monotonic() - began < PROMPT_S

"""A process may fork whatever it has open: nothing is lost, in the parent or in the child."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sedano.contracts import Broker, OpenOptions
from sedano.drivers import sqlite
from sedano.drivers.sqlite.broker import SqliteBroker
from sedano.exceptions import BrokerUnavailable, ResultsUnavailable
from sedano.testing.contracts.messages import batch, outgoing, result, task_ids


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def opened(url: str) -> Broker:
    return sqlite.open_broker(url, OpenOptions(results_url=url))


class Child:
    """A fork of this process that runs `action` and must end well."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                action()
                code = 0
            finally:
                os._exit(code)

    def end(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


def all_calls(url: str) -> list[str]:
    broker = opened(url)
    lease = broker.register("reader", "node")
    names = task_ids(broker.turn(lease, reserve=10_000, queues=["q"]).reserved)
    broker.close()
    return names


def test_given_an_open_store_when_the_parent_closes_it_while_the_child_writes_then_nothing_is_lost(url: str) -> None:
    """Without closing before the fork, the parent would take itself for the last and delete the log that the child writes."""
    broker = opened(url)
    broker.publish(batch("q", ["before"]))
    told, heard = os.pipe(), os.pipe()

    def child() -> None:
        mine = opened(url)
        mine.publish(batch("q", ["child-1"]))
        os.write(told[1], b"!")
        os.read(heard[0], 1)
        mine.publish(batch("q", ["child-2"]))
        os._exit(0)  # as one that is killed: it closes nothing

    forked = Child(child)
    os.read(told[0], 1)
    broker.close()
    os.write(heard[1], b"!")
    forked.end()
    assert all_calls(url) == ["before", "child-1", "child-2"]
    for fd in (*told, *heard):
        os.close(fd)


def test_given_connections_of_every_kind_when_forked_then_parent_and_child_go_on_with_them(url: str) -> None:
    options = OpenOptions(results_url=url)
    broker, results = opened(url), sqlite.open_results(url, options)
    coordination, bus = sqlite.open_coordination(url, options), sqlite.open_bus(url, options)

    def use(name: str) -> None:
        broker.publish(batch("q", [name]))
        results.store([result(name, name.encode())])
        coordination.acquire(name, name, ttl_s=60)
        bus.broadcast(outgoing("x", name).message)

    use("parent-1")
    Child(lambda: use("child")).end()
    use("parent-2")
    assert all_calls(url) == ["parent-1", "child", "parent-2"]
    assert results.fetch(["parent-1", "child", "parent-2"]) == [b"parent-1", b"child", b"parent-2"]
    assert coordination.holder("child") is not None
    for each in (broker, results, coordination, bus):
        each.close()


def test_given_a_stream_and_a_mailbox_when_forked_then_the_child_is_told_to_open_new_ones_and_the_parents_go_on(
    url: str,
) -> None:
    options = OpenOptions(results_url=url)
    results, bus = sqlite.open_results(url, options), sqlite.open_bus(url, options)
    stream, box = results.subscribe(), bus.open_mailbox("celery@node")
    stream.watch(["a"])

    def child() -> None:
        with pytest.raises(ResultsUnavailable, match="fork"):
            stream.wait(0.0)
        with pytest.raises(ResultsUnavailable, match="fork"):
            stream.watch(["b"])
        with pytest.raises(BrokerUnavailable, match="fork"):
            box.receive(0.0)
        stream.close()
        box.close()

    Child(child).end()
    results.store([result("a", b"A")])
    assert stream.wait(2.0) == [("a", b"A")]
    assert bus.broadcast(outgoing("x", "request").message) == 1
    assert len(box.receive(2.0)) == 1
    for each in (stream, box, results, bus):
        each.close()


def test_given_a_slot_that_slept_when_its_fork_closes_the_inherited_connection_then_the_slot_is_still_woken(url: str) -> None:
    slot, producer = opened(url), opened(url)
    lease = slot.register("slot", "node")
    slot.turn(lease, reserve=1, queues=["q"])
    slot.wait(["q"], 0.0)

    def child() -> None:
        slot.turn(lease)
        slot.wait(["q"], 0.0)
        slot.close()

    Child(child).end()
    producer.publish(batch("q", ["a"]))
    began = time.monotonic()
    slot.wait(["q"], 30.0)
    assert time.monotonic() - began < 2.0
    slot.close()
    producer.close()


def test_given_threads_at_work_when_forked_again_and_again_then_every_call_of_all_is_there_once(url: str) -> None:
    stop = threading.Event()
    accepted: list[list[str]] = [[], []]

    def publish(thread: int) -> None:
        broker = opened(url)
        while not stop.is_set():
            name = f"{thread}:{len(accepted[thread])}"
            broker.publish(batch("q", [name]))
            accepted[thread].append(name)
        broker.close()

    threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()

    def child(number: int) -> None:
        broker = opened(url)
        broker.publish(batch("q", [f"child:{number}"]))
        broker.close()

    for number in range(10):
        Child(lambda number=number: child(number)).end()
    stop.set()
    for thread in threads:
        thread.join()
    expected = [name for part in accepted for name in part] + [f"child:{number}" for number in range(10)]
    assert sorted(all_calls(url)) == sorted(expected)


def test_given_a_fork_in_the_middle_of_a_step_when_the_child_uses_the_connection_then_it_is_refused(url: str) -> None:
    broker = opened(url)
    assert isinstance(broker, SqliteBroker)
    broker.publish(batch("q", ["a"]))

    def child() -> None:
        with pytest.raises(BrokerUnavailable, match="forked"):
            broker.publish(batch("q", ["child"]))

    with broker._store.step():
        forked = Child(child)
    forked.end()
    broker.publish(batch("q", ["b"]))
    assert all_calls(url) == ["a", "b"]
    broker.close()

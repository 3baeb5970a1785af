"""Waiting without asking: pushes, several waiters, other databases, FLUSHDB, and the fallback."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from tests.services.redis.world import QUEUE, World

from sedano.contracts import OpenOptions
from sedano.drivers import redis
from sedano.drivers.redis.broker import RedisBroker
from sedano.testing.contracts.messages import batch, result

pytestmark = pytest.mark.redis

LONG_S = 60.0


def commands(world: World) -> int:
    """How many commands the server has served."""
    for line in world.command("INFO", "stats").decode().splitlines():
        if line.startswith("total_commands_processed:"):
            return int(line.partition(":")[2])
    raise AssertionError("no such statistic")


def waited(broker: RedisBroker, act: Callable[[], object], queues: tuple[str, ...] = (QUEUE,)) -> float:
    """How long a wait that began before `act` lasted after it."""
    ended: list[float] = []

    def wait() -> None:
        broker.wait(queues, LONG_S)
        ended.append(time.monotonic())

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(wait)
        time.sleep(0.15)  # long enough to be asleep; too short only makes the test weaker
        acted = time.monotonic()
        act()
        future.result(LONG_S)
    return ended[0] - acted


def test_given_an_idle_queue_when_waited_for_then_nothing_is_said_until_a_message_comes(world: World) -> None:
    broker, producer = world.broker(), world.broker()
    producer.publish(batch("elsewhere", "x"))
    broker.wait([QUEUE], 0.0)
    before = commands(world)
    started = time.monotonic()
    broker.wait([QUEUE], 0.5)
    assert time.monotonic() - started > 0.4
    assert commands(world) - before <= 4  # CACHING, EXISTS, and the two INFOs
    assert waited(broker, lambda: producer.publish(batch(QUEUE, "a"))) < 0.05


@pytest.mark.parametrize("priority", [0, 9])
def test_given_several_queues_when_any_list_of_any_gets_something_then_wait_returns(world: World, priority: int) -> None:
    broker, producer = world.broker(), world.broker()
    assert waited(broker, lambda: producer.publish(batch("third", "a", priority=priority)), ("first", "second", "third")) < 1


def test_given_messages_already_there_when_waiting_then_it_returns_at_once(world: World) -> None:
    broker = world.broker()
    broker.publish(batch(QUEUE, "a"))
    started = time.monotonic()
    broker.wait([QUEUE], LONG_S)
    assert time.monotonic() - started < 1


def test_given_its_own_release_when_waiting_then_it_returns_at_once(world: World) -> None:
    """The server tells nobody what he did himself."""
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "a"))
    broker.turn(lease, reserve=1, queues=[QUEUE])
    broker.wait([QUEUE], 0.0)
    broker.release(lease, None)
    started = time.monotonic()
    broker.wait([QUEUE], LONG_S)
    assert time.monotonic() - started < 1


def test_given_another_database_when_a_message_comes_there_then_wait_returns(world: World) -> None:
    broker, producer = world.broker(3), world.broker(3)
    assert waited(broker, lambda: producer.publish(batch(QUEUE, "a"))) < 1


def test_given_a_flushed_database_when_waiting_then_the_next_message_still_wakes(world: World) -> None:
    broker, producer = world.broker(), world.broker()
    broker.wait([QUEUE], 0.0)
    world.command("FLUSHDB")
    broker.wait([QUEUE], 0.01)
    assert waited(broker, lambda: producer.publish(batch(QUEUE, "a"))) < 1


def test_given_several_waiters_when_messages_come_again_and_again_then_all_wake_each_time(world: World) -> None:
    producer = world.broker()
    waiters = [world.broker() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            futures = [pool.submit(waiter.wait, [QUEUE], LONG_S) for waiter in waiters]
            time.sleep(0.05)
            producer.publish(batch(QUEUE, "a"))
            for future in futures:
                future.result(LONG_S / 2)
            world.command("DEL", QUEUE)


def test_given_busy_turns_when_others_work_beside_then_the_server_says_nothing_unasked(world: World) -> None:
    """Tracking is on only for the read that arms the alarm: a busy connection is not told about every change."""
    broker, other = world.broker(), world.broker()
    lease, other_lease = world.lease(broker), world.lease(other)
    broker.wait([QUEUE], 0.0)
    other.publish(batch(QUEUE, "a"))
    broker.turn(lease, reserve=1, queues=[QUEUE])
    connection = broker._connection  # pyright: ignore[reportPrivateUsage]
    connection.pushes.clear()
    for _ in range(10):
        other.publish(batch(QUEUE, "b"))
        broker.turn(lease, reserve=1, queues=[QUEUE])
        other.turn(other_lease, reserve=1, queues=[QUEUE])
    assert connection.pushes == []


def test_given_a_message_between_the_empty_turn_and_the_wait_when_waiting_then_it_is_not_slept_through(world: World) -> None:
    broker, producer = world.broker(), world.broker()
    lease = world.lease(broker)
    assert broker.turn(lease, reserve=1, queues=[QUEUE]).reserved == []
    producer.publish(batch(QUEUE, "a"))
    started = time.monotonic()
    broker.wait([QUEUE], LONG_S)
    assert time.monotonic() - started < 1


def test_given_a_new_connection_when_waiting_then_the_alarm_is_set_again(world: World) -> None:
    broker, producer = world.broker(), world.broker()
    broker.wait([QUEUE], 0.0)
    broker.reconnect()
    assert waited(broker, lambda: producer.publish(batch(QUEUE, "a"))) < 1


def test_given_polling_when_a_message_comes_then_wait_returns_within_a_poll(world: World) -> None:
    broker, producer = world.broker(accept_polling=True), world.broker()
    assert waited(broker, lambda: producer.publish(batch(QUEUE, "a"))) < 1
    started = time.monotonic()
    world.command("DEL", QUEUE)
    broker.wait([QUEUE], 0.3)
    assert 0.25 < time.monotonic() - started < 5


def test_given_a_server_that_refuses_tracking_when_waiting_then_it_polls(world: World) -> None:
    world.command("ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client")
    try:
        url = f"redis+socket://plain:pw@{world.server.socket}"
        broker = world.closing(redis.open_broker(url, OpenOptions()))
        producer = world.broker()
        assert waited(broker, lambda: producer.publish(batch(QUEUE, "a"))) < 1
    finally:
        world.command("ACL", "DELUSER", "plain")


def test_given_a_stream_when_a_result_is_written_then_it_wakes_with_the_payload(world: World) -> None:
    stream = world.closing(world.results().subscribe())
    stream.watch(["a", "b"])
    ready = Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: (ready.set(), stream.wait(LONG_S))[1])
        ready.wait()
        world.results().store([result("b", b"payload")])
        assert future.result(LONG_S) == [("b", b"payload")]


def test_given_thousands_of_ids_when_watched_and_unwatched_then_only_the_watched_are_reported(world: World) -> None:
    stream = world.closing(world.results().subscribe())
    ids = [f"id-{number}" for number in range(2_500)]
    stream.watch(ids)
    stream.unwatch(ids[:2_499])
    world.results().store([result(ids[0]), result(ids[2_499])])
    assert [task_id for task_id, _ in stream.wait(LONG_S)] == [ids[2_499]]

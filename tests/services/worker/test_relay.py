"""The relay and its clients when something goes wrong, and who is woken when. The broker behind it is the memory store."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import (
    Begin,
    Broker,
    Delivery,
    Lease,
    OpenOptions,
    Pause,
    Settlement,
    TurnOrder,
    TurnReply,
)
from sedano.drivers import memory
from sedano.drivers.memory.store import put_raw
from sedano.exceptions import BrokerUnavailable, EncodeError, LeaseLost, MessageTooLarge, OperationalError, StoreFull
from sedano.protocol import envelope
from sedano.testing.contracts.messages import batch, outgoing, settlement, task_ids
from sedano.worker.relay import client as relay_client
from sedano.worker.relay.client import RelayBroker
from sedano.worker.relay.doors import Doors
from sedano.worker.relay.protocol import ANSWER, ERROR, METHODS, WAIT, note
from sedano.worker.relay.server import RETRY_S, Relay
from sedano.worker.relay.waiters import SOON_S, Waiters
from sedano.worker.relay.watch import Watch

PROMPT_S = 10.0
LONG_S = 60.0
STORE = "memory://behind-the-relay"


class Cuttable:
    """A broker whose connection can be cut: then everything raises BrokerUnavailable until `reconnect`, `wait` at once."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.is_cut, self.refuses, self.reconnects = False, 0, 0
        self.tried_at: list[float] = []
        self.raises: Exception | None = None
        self.breaks_by: Exception = BrokerUnavailable("connection reset by peer")
        self._bell = os.pipe()

    def cut(self) -> None:
        self.is_cut = True
        os.write(self._bell[1], b"c")

    def __getattr__(self, name: str) -> Any:
        if self.is_cut:
            raise BrokerUnavailable("connection reset by peer")
        if self.raises is not None and name == "purge":
            raise self.raises
        return getattr(self.broker, name)

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        if not self.is_cut:
            self.broker.wait(queues, timeout_s, [*fds, self._bell[0]])
        if self.is_cut:
            raise self.breaks_by

    def reconnect(self) -> None:
        self.reconnects += 1
        self.tried_at.append(time.monotonic())
        if self.refuses:
            self.refuses -= 1
            raise BrokerUnavailable("connection refused")
        if self.is_cut:
            os.read(self._bell[0], 100)
            self.is_cut = False

    def close(self) -> None:
        self.broker.close()
        for fd in self._bell:
            os.close(fd)


class AtOnce(Cuttable):
    """Can do several turns with one flush."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.batches: list[int] = []

    def turn_all(self, orders: Sequence[TurnOrder]) -> list[TurnReply | Exception]:
        self.batches.append(len(orders))
        return [self._one(order) for order in orders]

    def _one(self, order: TurnOrder) -> TurnReply | Exception:
        try:
            return self.broker.turn(order.lease, settle=order.settle, reserve=order.reserve, queues=order.queues)
        except LeaseLost as exc:
            return exc


class World:
    """A relay on the memory store, and what is opened on it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "relay")
        self.brokers: list[Cuttable] = []
        self.opened: list[RelayBroker] = []
        self.kind: type[Cuttable] = Cuttable
        self.relay: Relay | None = None
        self.refuses_to_open = 0

    def start(self, watch: Watch | None = None) -> Relay:
        self.relay = Relay(self.path, self._open, watch)
        self.relay.start()
        return self.relay

    def _open(self) -> Any:
        if self.refuses_to_open:
            self.refuses_to_open -= 1
            raise BrokerUnavailable("connection refused")
        broker = self.kind(direct())
        self.brokers.append(broker)
        return broker

    def client(self, **options: Any) -> RelayBroker:
        self.opened.append(RelayBroker(self.path, **options))
        return self.opened[-1]

    def slot(self, name: str, **options: Any) -> tuple[RelayBroker, Lease]:
        broker = self.client(**options)
        return broker, broker.register(name, "celery@test")

    def until_asleep(self, count: int) -> None:
        assert self.relay is not None
        waiters = self.relay._waiters  # pyright: ignore[reportPrivateUsage] - sleeping clients are seen nowhere else
        until(lambda: len(waiters) == count)

    def raw(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self.path)
        connection.settimeout(PROMPT_S)
        return connection

    def close(self) -> None:
        for broker in self.opened:
            broker.close()
        if self.relay is not None:
            self.relay.stop()
            assert self.relay.join(PROMPT_S)


def direct() -> Broker:
    """Past the relay."""
    return memory.open_broker(STORE, OpenOptions(clock=SYSTEM_CLOCK))


@pytest.fixture
def world() -> Generator[World]:
    with tempfile.TemporaryDirectory(prefix="sedano-") as folder:
        world = World(Path(folder))
        try:
            yield world
        finally:
            world.close()
            memory.forget_store(STORE)


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def next_of(broker: RelayBroker, lease: Lease, limit: int = 1) -> list[str]:
    """What a slot does that has nothing."""
    deadline = time.monotonic() + PROMPT_S
    while not (found := broker.turn(lease, reserve=limit, queues=["q"]).reserved):
        assert time.monotonic() < deadline, "it slept through the work"
        broker.wait(["q"], LONG_S)
    assert time.monotonic() < deadline, "it slept through the work"
    return task_ids(found)


# -- what is no request -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">IB", 0, 1),
        struct.pack(">IB", (1 << 30) + 1, 1) + b"x",
        struct.pack(">IB", 5, 200) + b"abcd",
    ],
    ids=["another protocol", "nothing", "oversize", "no method"],
)
def test_given_a_relay_when_something_else_than_a_request_comes_then_that_connection_is_closed_and_others_go_on(
    world: World, said: bytes
) -> None:
    world.start()
    with world.raw() as stranger:
        stranger.sendall(said)
        assert stranger.recv(100) == b""
    assert world.client().queues() == []


def test_given_a_request_that_cannot_be_read_when_served_then_it_is_answered_with_an_error(world: World) -> None:
    world.start()
    with world.raw() as client:
        client.sendall(note(METHODS["purge"].code, 5))
        assert b"ValueError" in client.recv(1000)
        client.sendall(note(METHODS["purge"].code, ["q"]))
        assert client.recv(1000) == note(0, 0)


def test_given_half_a_request_when_its_sender_stops_or_ends_then_others_are_served(world: World) -> None:
    world.start()
    request = note(METHODS["purge"].code, ["q"])
    with world.raw() as slow, world.raw() as dying:
        slow.sendall(request[:7])
        dying.sendall(request[:3])
        dying.close()
        assert world.client().queues() == []
        slow.sendall(request[7:])
        assert slow.recv(100) == note(0, 0)


def test_given_a_client_that_does_not_read_a_large_answer_when_others_ask_then_they_are_served(world: World) -> None:
    world.start()
    body = "x" * 3_000_000
    direct().publish([outgoing("q", body)])
    with world.raw() as client:
        client.sendall(note(METHODS["register"].code, ["slow", "celery@test"]))
        client.recv(1000)
        client.sendall(note(METHODS["find"].code, [body, ["q"], 10]))
        broker, lease = world.slot("quick")
        assert task_ids(broker.turn(lease, reserve=1, queues=["q"]).reserved) == [body]


def test_given_a_step_larger_than_a_relay_takes_when_asked_then_the_client_is_told_and_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    broker = world.client()
    monkeypatch.setattr(relay_client, "LONGEST", 10_000)
    with pytest.raises(MessageTooLarge):
        broker.publish([outgoing("q", "x" * 20_000)])
    broker.publish([outgoing("q", "small")])
    assert broker.purge("q") == 1


def test_given_a_header_that_msgpack_does_not_carry_when_published_then_an_error_says_so(world: World) -> None:
    world.start()
    with pytest.raises(EncodeError):
        world.client().publish([outgoing("q", "a", number=2**70)])


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreFull("no room"), OperationalError("odd"), ValueError("wrong"), KeyError("k")])
def test_given_an_error_of_the_broker_when_asked_then_the_client_raises_the_same(world: World, error: Exception) -> None:
    world.start()
    broker = world.client()
    broker.queues()
    world.brokers[0].raises = error
    with pytest.raises(type(error)) as raised:
        broker.purge("q")
    assert (type(raised.value), str(raised.value)) == (type(error), str(error))


def test_given_a_lost_lease_when_used_then_the_error_names_its_owner(world: World) -> None:
    world.start()
    broker, lease = world.slot("me")
    broker.retire(lease)
    with pytest.raises(LeaseLost) as raised:
        broker.turn(lease)
    assert raised.value.owner == "me"


def test_given_waiting_clients_when_the_connection_breaks_then_all_hear_of_it_and_one_reconnects_for_all(world: World) -> None:
    world.start()
    slots = [world.slot(f"slot-{number}") for number in range(5)]

    def live(slot: tuple[RelayBroker, Lease]) -> str:
        broker, lease = slot
        assert broker.turn(lease, reserve=1, queues=["q"]).reserved == []
        with pytest.raises(BrokerUnavailable):
            broker.wait(["q"], LONG_S)
        broker.reconnect()
        return next_of(broker, lease)[0]

    with ThreadPoolExecutor(len(slots)) as pool:
        lives = [pool.submit(live, slot) for slot in slots]
        world.until_asleep(5)
        world.brokers[0].cut()
        until(lambda: world.brokers[0].reconnects)
        direct().publish(batch("q", "abcde"))
        assert sorted(each.result(LONG_S) for each in lives) == list("abcde")
    assert world.brokers[0].reconnects == 1


def test_given_a_wait_that_raises_what_nobody_expected_when_slots_wait_then_they_reconnect_and_go_on(world: World) -> None:
    world.start()
    broker, lease = world.slot("me")
    assert broker.turn(lease, reserve=1, queues=["q"]).reserved == []
    world.brokers[0].breaks_by = AssertionError("a mistake in the driver")
    threading.Timer(0.05, world.brokers[0].cut).start()
    with pytest.raises(BrokerUnavailable, match="a mistake in the driver"):
        broker.wait(["q"], LONG_S)
    broker.reconnect()
    broker.publish(batch("q", "a"))
    assert next_of(broker, lease) == ["a"]


def test_given_a_broker_that_cannot_be_opened_when_it_can_later_then_it_is_used(world: World) -> None:
    world.refuses_to_open = 2
    world.start()
    broker = world.client()
    for use in (broker.queues, broker.reconnect):
        with pytest.raises(BrokerUnavailable):
            use()
    broker.reconnect()
    threading.Timer(0.05, lambda: direct().publish(batch("q", "a"))).start()
    assert next_of(broker, broker.register("me", "celery@test")) == ["a"]


def test_given_a_broker_that_is_away_when_many_reconnect_then_it_is_tried_twice_a_second_at_most(world: World) -> None:
    world.start()
    clients = [world.client() for _ in range(4)]
    clients[0].queues()
    broker = world.brokers[0]
    broker.refuses = 1000
    broker.cut()
    with pytest.raises(BrokerUnavailable):
        clients[0].queues()
    while broker.reconnects < 3:
        for client in clients:
            with pytest.raises(BrokerUnavailable):
                client.reconnect()
    assert all(later - sooner >= RETRY_S for sooner, later in pairwise(broker.tried_at))
    with pytest.raises(BrokerUnavailable):
        clients[0].wait(["q"], LONG_S)
    broker.refuses = 0
    until(lambda: _reconnects(clients[1]))
    assert clients[2].queues() == []
    tries = broker.reconnects
    clients[3].reconnect()
    assert broker.reconnects == tries


def test_given_a_relay_that_has_ended_when_used_then_the_broker_is_unavailable_for_good(world: World) -> None:
    relay = world.start()
    broker = world.client()
    broker.queues()
    relay.stop(grace_s=0)
    assert relay.join(PROMPT_S)
    assert not os.path.exists(world.path)
    for use in (broker.queues, broker.reconnect, lambda: broker.wait(["q"], LONG_S)):
        with pytest.raises(BrokerUnavailable):
            use()


def test_given_a_waiting_client_when_the_relay_ends_then_it_hears_of_it(world: World) -> None:
    relay = world.start()
    broker, lease = world.slot("me")
    broker.turn(lease, reserve=1, queues=["q"])
    threading.Timer(0.05, lambda: relay.stop(grace_s=0)).start()
    with pytest.raises(BrokerUnavailable):
        broker.wait(["q"], LONG_S)


def test_given_reservations_when_the_relay_ends_then_they_are_back_at_once(world: World) -> None:
    relay = world.start()
    broker, lease = world.slot("me")
    broker.publish(batch("q", "abc"))
    held = broker.turn(lease, reserve=3, queues=["q"]).reserved
    broker.turn(lease, begin=[Begin(held[0].tag, early=False)])
    broker.close()
    relay.stop()
    assert relay.join(PROMPT_S)
    (depth,) = direct().depth(["q"])
    assert (depth.ready, depth.reserved, depth.begun) == (2, 0, 1)


# -- waking -----------------------------------------------------------------------------------------------------------


def test_given_many_sleepers_when_one_call_comes_then_one_is_woken(world: World) -> None:
    world.start()
    slots = [world.slot(f"slot-{number}") for number in range(10)]
    woken: list[int] = []

    def sleep(number: int) -> list[str]:
        broker, lease = slots[number]
        found = broker.turn(lease, reserve=1, queues=["q"]).reserved
        while not found:
            broker.wait(["q"], LONG_S)
            woken.append(number)
            found = broker.turn(lease, reserve=1, queues=["q"]).reserved
        return task_ids(found)

    with ThreadPoolExecutor(len(slots)) as pool:
        sleeps = [pool.submit(sleep, number) for number in range(len(slots))]
        world.until_asleep(len(slots))
        direct().publish(batch("q", ["first"]))
        until(lambda: any(each.done() for each in sleeps))
        time.sleep(2 * SOON_S)  # nothing more happens: that can only be seen by letting time pass
        assert len(woken) <= 2
        direct().publish(batch("q", [f"call-{number}" for number in range(9)]))
        assert len({name for each in sleeps for name in each.result(LONG_S)}) == 10


def test_given_a_client_killed_while_it_waits_when_work_comes_then_another_has_it(world: World) -> None:
    world.start()
    program = (
        "import sys; from sedano.worker.relay.client import RelayBroker\n"
        "broker = RelayBroker(sys.argv[1]); lease = broker.register('victim', 'celery@test')\n"
        "broker.turn(lease, reserve=1, queues=['q']); broker._send(255, ['q']); print('waits', flush=True)\n"
        "sys.stdin.read()\n"
    )
    broker, lease = world.slot("me")
    with subprocess.Popen(
        [sys.executable, "-c", program, world.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "waits\n"
        assert broker.turn(lease, reserve=1, queues=["q"]).reserved == []
        victim.kill()
        victim.wait()
        direct().publish(batch("q", "a"))
        assert next_of(broker, lease) == ["a"]


def test_given_a_sleeper_that_does_not_come_when_it_was_told_then_the_next_is_told(world: World) -> None:
    world.start()
    with world.raw() as idler:
        idler.sendall(note(WAIT, ["q"]))
        broker, lease = world.slot("me")
        assert broker.turn(lease, reserve=1, queues=["q"]).reserved == []
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(next_of, broker, lease)
            world.until_asleep(2)
            direct().publish(batch("q", "a"))
            assert found.result(LONG_S) == ["a"]


def test_given_sleepers_of_different_queues_when_work_comes_to_the_last_ones_then_it_has_it(world: World) -> None:
    world.start()
    broker, lease = world.slot("me")
    strangers = [world.slot(f"stranger-{number}") for number in range(3)]

    def wait_elsewhere(slot: tuple[RelayBroker, Lease]) -> None:
        while not slot[0].turn(slot[1], reserve=1, queues=["elsewhere"]).reserved:
            slot[0].wait(["elsewhere"], LONG_S)

    with ThreadPoolExecutor(3) as pool:
        ends = [pool.submit(wait_elsewhere, stranger) for stranger in strangers]
        world.until_asleep(3)
        threading.Timer(0.05, lambda: direct().publish(batch("q", "a"))).start()
        assert next_of(broker, lease) == ["a"]
        direct().publish(batch("elsewhere", "bcd"))
        for end in ends:
            end.result(LONG_S)


def test_given_fifty_clients_and_bursts_of_work_when_all_is_done_then_no_call_was_slept_through_or_given_twice(
    world: World,
) -> None:
    world.start()
    count, clients = 3000, 50
    seen: list[str] = []
    over = threading.Event()
    took: list[float] = []

    def live(number: int) -> None:
        broker, lease = world.slot(f"slot-{number}")
        settle: list[Settlement] = []
        while not over.is_set():
            reply = broker.turn(lease, settle=settle, reserve=1 + number % 3, queues=["q"])
            settle = [settlement(delivery) for delivery in reply.reserved]
            seen.extend(task_ids(reply.reserved))
            if not reply.reserved:
                broker.wait(["q"], LONG_S)

    with ThreadPoolExecutor(clients) as pool:
        lives = [pool.submit(live, number) for number in range(clients)]
        producer = direct()
        sent = 0
        while sent < count:
            size = min(1 + sent * 7 % 60, count - sent)
            producer.publish(batch("q", [f"call-{sent + number}" for number in range(size)]))
            sent += size
            began = time.monotonic()
            until(lambda so_far=sent: len(seen) >= so_far)
            took.append(time.monotonic() - began)
        over.set()
        assert world.relay is not None
        world.relay.stop(grace_s=0)
        for each in lives:
            assert each.exception(LONG_S) is None or isinstance(each.exception(), BrokerUnavailable)
    assert len(seen) == len(set(seen)) == count
    assert max(took) < PROMPT_S / 2


def test_given_waiters_when_told_one_by_one_then_they_come_in_their_order_and_none_while_one_is_expected() -> None:
    waiters: Waiters[str] = Waiters()
    for name, queues in (("a", ["q"]), ("b", ["p"]), ("c", ["q"])):
        waiters.add(name, queues)
    assert waiters.queues(0.0, ()) == {"p", "q"}
    assert waiters.next(0.0, ["p"]) == "a"
    assert (waiters.next(SOON_S / 2, ()), waiters.queues(SOON_S / 2, ())) == (None, frozenset())
    waiters.forget("a")
    assert waiters.queues(SOON_S / 2, ["p"]) == {"q"}
    assert waiters.next(SOON_S / 2, ["p"]) == "c"
    assert waiters.next(2 * SOON_S, ()) == "b"
    assert waiters.next(9 * SOON_S, ()) is None


# -- processes --------------------------------------------------------------------------------------------------------


def test_given_a_client_when_its_process_forks_then_the_child_cannot_use_it_and_the_parent_goes_on(world: World) -> None:
    world.start()
    broker, lease = world.slot("me")
    broker.publish(batch("q", "a"))
    program = (
        "import os, sys; from sedano.worker.relay.client import RelayBroker\n"
        "broker = RelayBroker(sys.argv[1]); broker.queues()\n"
        "child = os.fork()\n"
        "if not child: os._exit(0 if broker._socket is None else 1)\n"
        "status = os.waitpid(child, 0)[1]; broker.queues(); sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    assert subprocess.run([sys.executable, "-c", program, world.path], timeout=LONG_S).returncode == 0
    assert next_of(broker, lease) == ["a"]


def test_given_folders_of_killed_nodes_when_another_starts_then_those_of_the_living_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Path(world.path).parent
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    folders = [parent / f"sedano-relay-{name}" for name in ("dead", "alive", "new")]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(str(folder / "0"))
            if folder.name.endswith("alive"):
                listener.listen()
            if not folder.name.endswith("new"):
                os.utime(folder, (0, 0))
        doors = Doors([True])
        assert [folder.exists() for folder in folders] == [False, True, True]
        assert Path(doors.paths[0]).parent.stat().st_mode & 0o777 == 0o700
        doors.close()
        assert not Path(doors.paths[0]).parent.exists()


# -- deliveries that the broker has not read --------------------------------------------------------------------------


class Unread(Cuttable):
    """Leaves the reading to whoever runs the call."""

    def turn(self, *arguments: Any, **options: Any) -> TurnReply:
        reply = self.broker.turn(*arguments, **options)
        for delivery in reply.reserved:
            delivery.message, delivery.unreadable = None, ""
        return reply


def fill(delivery: Delivery) -> None:
    if delivery.raw == b"broken":
        delivery.unreadable = "it is broken"
    else:
        delivery.message = envelope.decode(delivery.raw)


def test_given_deliveries_that_the_broker_has_not_read_when_reserved_then_the_client_reads_them(world: World) -> None:
    world.kind = Unread
    world.start()
    broker, lease = world.slot("me", fill=fill)
    broker.publish(batch("q", "a"))
    put_raw(STORE, "q", b"broken")
    good, bad = broker.turn(lease, reserve=5, queues=["q"]).reserved
    assert task_ids([good]) == ["a"]
    assert (bad.message, bad.unreadable) == (None, "it is broken")


def test_given_a_large_answer_when_it_comes_in_parts_then_somebody_hears_of_it(world: World) -> None:
    world.start()
    heard: list[None] = []
    broker, lease = world.slot("me", heard=lambda: heard.append(None))
    direct().publish([outgoing("q", "x" * 5_000_000)])
    broker.turn(lease, reserve=1, queues=["q"])
    assert heard


# -- several turns with one flush -------------------------------------------------------------------------------------


def test_given_a_broker_that_does_turns_at_once_when_several_ask_together_then_each_has_its_own_answer(world: World) -> None:
    world.kind = AtOnce
    world.start()
    slots = [world.slot(f"slot-{number}") for number in range(4)]
    slots[3][0].retire(slots[3][1])
    slots[0][0].publish(batch("q", "abc"))
    turn = METHODS["turn"]
    lock = world.brokers[0].broker._store.lock  # type: ignore[attr-defined]
    with ExitStack() as stack:
        askers = [stack.enter_context(world.raw()) for _ in slots]
        with lock, world.raw() as blocker:  # the relay stands still in the first request until all have come
            blocker.sendall(note(METHODS["queues"].code, []))
            time.sleep(0.05)
            for asker, (_, lease) in zip(askers, slots, strict=True):
                asker.sendall(note(turn.code, TurnOrder(lease, reserve=1, queues=["q"])))
        answers = [asker.recv(100_000) for asker in askers]
        assert [answer[4] for answer in answers] == [ANSWER, ANSWER, ANSWER, ERROR]
        replies: list[TurnReply] = [turn.answers.decode(answer[5:]) for answer in answers[:3]]
        assert sorted(task_ids(delivery for reply in replies for delivery in reply.reserved)) == ["a", "b", "c"]
        assert world.brokers[0].batches == [4]  # type: ignore[attr-defined]


class Ahead(Cuttable):
    """Its server says late that it has done its part: when `says` is set; `cut` is heard of at once."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.says = False

    def turn_ahead(self, order: TurnOrder) -> tuple[TurnReply, int]:
        reply = self.broker.turn(order.lease, reserve=order.reserve, queues=order.queues)
        for delivery in reply.reserved:
            delivery.message = None
        return reply, 7

    def reached(self, mark: int) -> bool:
        assert mark == 7
        if self.is_cut:
            raise BrokerUnavailable("connection reset by peer")
        return self.says

    def say(self) -> None:
        self.says = True
        os.write(self._bell[1], b"s")


@pytest.mark.parametrize("ends_well", [True, False])
def test_given_a_server_that_says_late_that_a_turn_is_done_when_it_is_read_meanwhile_then_it_is_valid_after_that_only(
    world: World, ends_well: bool
) -> None:
    world.kind = Ahead
    world.start()
    is_read = threading.Event()

    def read(delivery: Delivery) -> None:
        fill(delivery)
        is_read.set()

    broker, lease = world.slot("me", fill=read)
    broker.publish(batch("q", "a"))
    behind = world.brokers[0]
    assert isinstance(behind, Ahead)
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(lambda: broker.turn(lease, reserve=5, queues=["q"]))
        assert is_read.wait(PROMPT_S)
        assert not turn.done()
        if ends_well:
            behind.say()
            assert task_ids(turn.result(PROMPT_S).reserved) == ["a"]
        else:
            behind.cut()
            with pytest.raises(BrokerUnavailable):
                turn.result(PROMPT_S)


def test_given_trouble_that_only_a_busy_client_knows_of_when_another_has_a_turn_then_it_is_told_when_it_is_done(
    world: World,
) -> None:
    """Whoever met the trouble reconnects when it comes back to it; the broker may be well long before."""
    world.kind = Ahead
    world.start()
    broker, lease = world.slot("me", fill=fill)
    busy = world.client()
    behind = world.brokers[0]
    assert isinstance(behind, Ahead)
    behind.raises = BrokerUnavailable("its other connection broke")
    with pytest.raises(BrokerUnavailable):
        busy.purge("q")
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(lambda: broker.turn(lease, reserve=5, queues=["q"]))
        threading.Timer(0.1, behind.say).start()
        try:
            assert turn.result(PROMPT_S).reserved == []
        finally:
            busy.reconnect()


def test_given_leases_that_were_taken_over_when_the_reaper_looks_again_then_the_relay_forgets_them(world: World) -> None:
    relay = world.start()
    reaper, mine = world.slot("reaper")
    for number in range(5):
        world.slot(f"slot-{number}")
    reaper.renew([mine])
    for record in reaper.leases():
        if record.owner != "reaper":
            reaper.take_over(record, mine, limit=10, force=True)
    assert [record.owner for record in reaper.leases()] == ["reaper"]
    assert list(relay._leases) == ["reaper"]  # pyright: ignore[reportPrivateUsage] - it would only be seen in its memory


# -- what the cluster has agreed on -----------------------------------------------------------------------------------


def test_given_a_coordination_store_that_does_not_answer_when_a_slot_asks_then_it_waits_once_and_not_again(
    world: World,
) -> None:
    gate = threading.Event()

    def open_coordination() -> Any:
        gate.wait(LONG_S)
        return memory.open_coordination("memory://agreed", OpenOptions())

    world.start(Watch(open_coordination))
    broker, lease = world.slot("me")
    broker.publish(batch("q", "abc"))
    began = time.monotonic()
    for name in "abc":
        assert task_ids(broker.turn(lease, reserve=1, queues=["q"]).reserved) == [name]
    assert time.monotonic() - began < 2.0
    memory.open_coordination("memory://agreed", OpenOptions()).pause([Pause("q", 1.0)])
    broker.publish(batch("q", "d"))
    gate.set()
    until(lambda: broker.turn(lease, reserve=0, queues=["q"], begin=[Begin("none", early=True)]).paused == frozenset("q"))
    assert broker.turn(lease, reserve=1, queues=["q"]).reserved == []
    memory.forget_store("memory://agreed")


def test_given_a_paused_queue_when_depths_are_asked_then_they_say_so(world: World) -> None:
    coordination = memory.open_coordination("memory://agreed", OpenOptions())
    world.start(Watch(lambda: memory.open_coordination("memory://agreed", OpenOptions())))
    broker = world.client()
    broker.publish(batch("q", "a"))
    coordination.pause([Pause("q", 1.0)])
    until(lambda: broker.depth(["q"])[0].paused)
    assert [depth.paused for depth in broker.depth(["q", "p"])] == [True, False]
    memory.forget_store("memory://agreed")


def _reconnects(broker: RelayBroker) -> bool:
    try:
        broker.reconnect()
    except BrokerUnavailable:
        return False
    return True

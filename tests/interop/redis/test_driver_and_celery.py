"""The redis driver beside real Celery workers and clients, 5.7 and 5.4."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from tests.interop.environments import Environment, celery_environment
from tests.servers import RedisServer

from sedano.contracts import Begin, ChordPart, Delay, Delivery, Lease, OpenOptions, Outgoing, ResultWrite
from sedano.drivers import redis
from sedano.drivers.redis.broker import RedisBroker
from sedano.protocol.message import Message
from sedano.testing.contracts.messages import message, settlement

pytestmark = [pytest.mark.redis, pytest.mark.celery]

HERE = Path(__file__).parent
QUEUE = "celery"
PATIENCE_S = 60.0


@pytest.fixture(params=["5.7", pytest.param("5.4", marks=pytest.mark.long)], scope="module")
def celery(request: pytest.FixtureRequest) -> Environment:
    return celery_environment(request.param)


@pytest.fixture
def server() -> Generator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def variables(server: RedisServer) -> dict[str, str]:
    return {"BROKER": server.url_of(0), "RESULTS": server.url_of(1)}


@pytest.fixture
def broker(server: RedisServer) -> Generator[RedisBroker]:
    with closing(redis.open_broker(server.url, OpenOptions(results_url=server.url_of(1)))) as broker:
        yield broker


def call(task_id: str, *args: object, queue: str = QUEUE, priority: int = 0) -> Outgoing:
    body = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    plain = message(task_id, queue=queue, body=body, priority=priority, task="proj.add")
    return Outgoing(with_encoding(plain), queue, priority=priority)


def with_encoding(plain: Message) -> Message:
    properties = {**plain.properties, "body_encoding": "base64"}
    return Message(plain.body, plain.content_type, plain.content_encoding, plain.headers, properties)


def values(server: RedisServer, *task_ids: str) -> list[object]:
    """The results of calls, as soon as all are there."""
    with closing(redis.open_results(server.url_of(1), OpenOptions())) as results, closing(results.subscribe()) as stream:
        stream.watch(task_ids)
        deadline = time.monotonic() + PATIENCE_S
        while None in (records := results.fetch(task_ids)):
            assert time.monotonic() < deadline, f"results of {task_ids}: {records}"
            stream.wait(5.0)
        return [json.loads(record)["result"] for record in records if record]


def take(broker: RedisBroker, lease: Lease, *queues: str, count: int = 1) -> list[Delivery]:
    """Reserve `count` deliveries, waiting for them."""
    found: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        found += broker.turn(lease, reserve=count - len(found), queues=queues).reserved
        if len(found) < count:
            broker.wait(queues, 5.0)
    return found


def succeed(delivery: Delivery, value: object, **more: object) -> object:
    assert delivery.message is not None
    task_id = delivery.message.headers["id"]
    meta = {"status": "SUCCESS", "result": value, "traceback": None, "children": [], "date_done": None, "task_id": task_id}
    return settlement(delivery, result=ResultWrite(task_id, json.dumps(meta).encode(), 3600.0, ready=True), **more)


def test_given_calls_that_we_publish_when_a_celery_worker_runs_then_it_runs_them_all(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    broker.publish([call(f"id-{priority}", priority, 1, priority=priority) for priority in range(10)])
    with celery.worker("-c", "1", app="proj", folder=HERE, variables=variables, log=tmp_path / "log"):
        assert values(server, *(f"id-{priority}" for priority in range(10))) == list(range(1, 11))
    assert broker.depth([QUEUE])[0].ready == 0


def test_given_what_a_dead_owner_held_when_only_celery_is_left_then_it_restores_and_runs_it_all(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    """Reserved and begun late, from lists of two priorities; also after a first reaper has taken it over and died."""
    lease, reaper = broker.register("dead/1", "celery@dead"), broker.register("dead/2", "celery@dead")
    broker.publish([call(f"id-{number}", number, number, priority=3 * (number % 2)) for number in range(6)])
    deliveries = take(broker, lease, QUEUE, count=6)
    broker.turn(lease, begin=[Begin(one.tag, False) for one in deliveries[:3]])
    (record,) = [record for record in broker.leases() if record.owner == lease.owner]
    assert len(broker.take_over(record, reaper, limit=2).deliveries) == 2
    assert {field.split(b"/")[0] for field in server.command("HKEYS", "unacked")} == {b"dead"}
    time.sleep(2.5)  # by the server's clock: the entries are older now than the worker's visibility timeout
    impatient = {**variables, "VISIBILITY_TIMEOUT": "1"}
    with celery.worker("-c", "1", app="proj", folder=HERE, variables=impatient, log=tmp_path / "log"):
        ids = [f"id-{number}" for number in range(6)]
        assert values(server, *ids) == [2 * number for number in range(6)]
    # An entry of its own may be left: with such a timeout a slow machine makes Celery restore what it has just taken.
    assert [field for field in server.command("HKEYS", "unacked") if field.startswith(b"dead/")] == []
    # A Sedano that comes back finds that nothing of it is its own any more.
    (record, *_) = broker.leases()
    assert broker.take_over(record, broker.register("new", "n"), limit=100).deliveries == []


def test_given_a_call_that_we_renew_when_celery_restores_the_old_then_it_does_not_touch_it(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    lease = broker.register("alive", "celery@alive")
    broker.publish([call("held", 1, 1), call("left", 2, 2)])
    held, left = take(broker, lease, QUEUE, count=2)
    server.command("ZADD", "unacked_index", int(time.time()) - 100, left.tag)
    server.command("ZADD", "unacked_index", int(time.time()) - 100, held.tag)
    broker.turn(lease, begin=[Begin(held.tag, False)])
    server.command("HSET", f"_sedano.lease.{lease.owner}", "scored", 1)
    broker.renew([lease])
    server.command("ZADD", "unacked_index", int(time.time()) - 100, left.tag)
    patient = {**variables, "VISIBILITY_TIMEOUT": "30"}
    with celery.worker("-c", "1", app="proj", folder=HERE, variables=patient, log=tmp_path / "log"):
        assert values(server, "left") == [4]
        assert broker.turn(lease, settle=[succeed(held, "ours")]).refused == []  # type: ignore[list-item]
    assert values(server, "held") == ["ours"]


def test_given_a_celery_client_when_we_settle_its_call_then_get_returns_our_value(
    celery: Environment, broker: RedisBroker, variables: dict[str, str]
) -> None:
    lease = broker.register("slot", "celery@slot")

    def work() -> None:
        (delivery,) = take(broker, lease, QUEUE)
        assert delivery.message is not None
        (x, y), _, _ = json.loads(delivery.message.body)
        broker.turn(lease, begin=[Begin(delivery.tag, True)])
        broker.turn(lease, settle=[succeed(delivery, x + y)])  # type: ignore[list-item]

    thread = threading.Thread(target=work)
    thread.start()
    code = "from proj import add; print(add.apply_async((2, 3), priority=4).get(timeout=90))"
    assert celery.run(code, folder=HERE, variables=variables) == "5"
    thread.join()


def test_given_what_a_dead_celery_worker_left_when_we_restore_then_it_is_ours_to_run(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    lease = broker.register("slot", "celery@slot")
    celery.run("from proj import add; add.apply_async((2, 3), countdown=3000, priority=3)", folder=HERE, variables=variables)
    with celery.worker("-c", "1", app="proj", folder=HERE, variables=variables, log=tmp_path / "log"):
        deadline = time.monotonic() + PATIENCE_S
        while server.command("HLEN", "unacked") == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
    time.sleep(1.5)
    assert broker.restore_foreign(1.0) == 1
    (delivery,) = take(broker, lease, QUEUE)
    assert delivery.message is not None
    assert (delivery.message.headers["task"], delivery.redelivered, delivery.priority) == ("proj.add", True, 3)


def test_given_a_delayed_call_when_handed_back_then_a_celery_worker_runs_it(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    lease = broker.register("slot", "celery@slot")
    broker.publish([call("late", 20, 2)])
    (delivery,) = take(broker, lease, QUEUE)
    broker.turn(lease, delay=[Delay(delivery.tag, time.time() + 3600)])
    assert broker.handback([QUEUE]) == 1
    with celery.worker("-c", "1", app="proj", folder=HERE, variables=variables, log=tmp_path / "log"):
        assert values(server, "late") == [22]


def test_given_one_chord_when_a_part_is_ours_and_a_part_is_celerys_then_its_body_runs_once(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "from celery import chord; from proj import add, ours, tsum;"
        "result = chord([add.s(1, 1), ours.s(10)])(tsum.s()); print(result.id)"
    )
    body_id = celery.run(code, folder=HERE, variables=variables)
    lease = broker.register("slot", "celery@slot")
    (delivery,) = take(broker, lease, "ours")
    assert delivery.message is not None
    headers = delivery.message.headers
    payload = json.dumps([1, headers["id"], "SUCCESS", -10]).encode()
    part = ChordPart(headers["group"], headers["id"], headers["group_index"], payload, 3600.0)
    broker.turn(lease, begin=[Begin(delivery.tag, True)])
    reply = broker.turn(lease, settle=[succeed(delivery, -10, chord_part=part)])  # type: ignore[list-item]
    assert reply.chords == []
    with celery.worker("-c", "1", app="proj", folder=HERE, variables=variables, log=tmp_path / "log"):
        assert values(server, body_id) == [-8]


def test_given_celerys_part_first_when_ours_completes_the_chord_then_we_get_the_claim_and_all_parts(
    celery: Environment, server: RedisServer, broker: RedisBroker, variables: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "from celery import chord; from proj import add, ours, tsum;"
        "result = chord([ours.s(10), add.s(1, 1)])(tsum.s()); print(result.parent.results[1].id)"
    )
    theirs = celery.run(code, folder=HERE, variables=variables)
    with celery.worker("-c", "1", "-Q", "celery", app="proj", folder=HERE, variables=variables, log=tmp_path / "log"):
        assert values(server, theirs) == [2]
        lease = broker.register("slot", "celery@slot")
        (delivery,) = take(broker, lease, "ours")
        assert delivery.message is not None
        headers = delivery.message.headers
        with closing(redis.open_results(server.url_of(1), OpenOptions())) as results:
            deadline = time.monotonic() + PATIENCE_S
            while not results.chord_parts(headers["group"]) and time.monotonic() < deadline:
                time.sleep(0.05)  # Celery counts its part after it has stored the result
            payload = json.dumps([1, headers["id"], "SUCCESS", -10]).encode()
            part = ChordPart(headers["group"], headers["id"], headers["group_index"], payload, 3600.0)
            reply = broker.turn(lease, settle=[succeed(delivery, -10, chord_part=part)])  # type: ignore[list-item]
            assert [chord.group_id for chord in reply.chords] == [headers["group"]]
            assert [json.loads(one)[3] for one in results.chord_parts(headers["group"])] == [-10, 2]


def test_given_a_celery_worker_when_we_ping_then_it_answers_and_when_it_pings_we_hear_it(
    celery: Environment, server: RedisServer, variables: dict[str, str], tmp_path: Path
) -> None:
    with (
        celery.worker("-c", "1", "-n", "w1@here", app="proj", folder=HERE, variables=variables, log=tmp_path / "log"),
        closing(redis.open_bus(server.url, OpenOptions())) as bus,
        closing(bus.open_mailbox("sedano@here")) as mailbox,
        closing(bus.open_replies("our-oid")) as replies,
    ):
        body = {"method": "ping", "arguments": {}, "destination": None, "pattern": None, "matcher": None, "ticket": "t-1",
                "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "our-oid"}}  # fmt: skip
        properties = {"delivery_mode": 2, "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""}, "priority": 0,
                      "body_encoding": "base64", "delivery_tag": "tag-1"}  # fmt: skip
        request = Message(json.dumps(body).encode(), "application/json", "utf-8", {"clock": 1, "expires": 0}, properties)
        deadline = time.monotonic() + PATIENCE_S  # a Celery worker says "ready" before it listens
        while server.command("PUBSUB", "NUMPAT") < 1 and time.monotonic() < deadline:  # Kombu subscribes to patterns
            time.sleep(0.05)
        assert bus.broadcast(request) == 2
        (answer,) = replies.receive(PATIENCE_S)
        assert json.loads(answer.body) == {"w1@here": {"ok": "pong"}}

        def respond() -> None:
            heard = [json.loads(one.body) for one in mailbox.receive(PATIENCE_S)]
            asked = next(one for one in heard if one.get("ticket") != "t-1")
            to = asked["reply_to"]
            info = {"delivery_info": {**to}, "delivery_tag": "tag-2", "priority": 0, "body_encoding": "base64"}
            reply = Message(b'{"sedano@here": {"ok": "pong"}}', "application/json", "utf-8", {"ticket": asked["ticket"]}, info)
            bus.reply(to["exchange"], to["routing_key"], reply)

        mailbox.receive(0.1)  # our own ping
        thread = threading.Thread(target=respond)
        thread.start()
        ping = "app.control.inspect(timeout=60, limit=2).ping()"
        code = f"import json; from proj import app; print(json.dumps({ping}, sort_keys=True))"
        answered = json.loads(celery.run(code, folder=HERE, variables=variables))
        thread.join()
        assert answered == {"sedano@here": {"ok": "pong"}, "w1@here": {"ok": "pong"}}

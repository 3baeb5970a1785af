"""What only RabbitMQ has, between the engines: queues with priorities, quorum queues, delays that the server keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.peers import Place, engine
from tests.rabbit import RabbitServer, vhost_of
from tests.servers import RedisServer

pytestmark = [pytest.mark.celery, pytest.mark.rabbitmq, pytest.mark.redis]

DIRECTIONS = ("celery5.7>sedano", "sedano>celery5.7", pytest.param("celery5.7>celery5.7", marks=pytest.mark.long))
OLD = ("celery5.4>sedano", "sedano>celery5.4")
QUORUM = {"task_default_queue_type": "quorum", "task_default_exchange_type": "topic", "worker_detect_quorum_queues": True}
# A quorum queue tells how many messages it has some seconds later.
COUNTED = {**QUORUM, "broker_native_delayed_delivery_queue_type": "classic"}
AHEAD_S = 3.0
PRIORITIES = [0, 3, 9, 1, 9, 5, 0]


@pytest.fixture
def place(rabbit_server: RabbitServer, interop_server: RedisServer, tmp_path: Path) -> Iterator[Place]:
    broker = rabbit_server.new_vhost()
    place = Place(interop_server, 6, tmp_path, broker=broker)
    try:
        yield place
    finally:
        place.close()
        rabbit_server.delete_vhost(broker)


def lying(server: RabbitServer, place: Place) -> dict[str, int]:
    """How many messages lie in each queue that has any, as the queues themselves say."""
    found = server.ctl("list_queues", "--vhost", vhost_of(place.broker), "--formatter", "json", "name", "messages")
    return {queue["name"]: queue["messages"] for queue in json.loads(found) if queue["messages"]}


def of_kind(place: Place, settings: dict[str, object]) -> None:
    place.settings["INTEROP_SETTINGS"] = json.dumps(settings)


@pytest.mark.parametrize("direction", [*DIRECTIONS, *OLD])
def test_given_a_queue_with_priorities_when_a_worker_comes_then_the_largest_number_runs_first(
    place: Place, direction: str
) -> None:
    of_kind(place, {"task_queue_max_priority": 10, "worker_prefetch_multiplier": 1})
    caller, worker = map(engine, direction.split(">"))
    peer = place.peer(caller)
    source = "app.amqp.queues\n[now.apply_async(priority=p).id for p in priorities]"
    ids = peer.ask(source, priorities=PRIORITIES)
    place.ready(worker, "w1@there", concurrency=1)
    began = peer.ask("[AsyncResult(task_id).get(timeout=PATIENCE) for task_id in ids]", ids=ids)
    in_order = [priority for _, priority in sorted(zip(began, PRIORITIES, strict=True))]
    assert in_order == sorted(PRIORITIES, reverse=True)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_given_quorum_queues_when_a_call_is_for_later_then_the_server_keeps_it_until_then(
    place: Place, rabbit_server: RabbitServer, direction: str
) -> None:
    of_kind(place, COUNTED)
    caller, worker = map(engine, direction.split(">"))
    place.ready(worker, "w1@there")
    peer = place.peer(caller)
    source = """
        due = time.time() + ahead
        result = now.apply_async(countdown=ahead)
        distant = mark.apply_async(("distant",), countdown=3600)
        [due, result.id, add.delay(1, 2).get(timeout=PATIENCE)]
    """
    due, task_id, value = peer.ask(source, ahead=AHEAD_S)
    assert value == 3
    waiting = lying(rabbit_server, place)
    assert sum(waiting.values()) >= 1, waiting  # on a busy machine the near one may be through
    assert all(name.startswith("celery_delayed_") for name in waiting)
    began = peer.ask("AsyncResult(task_id).get(timeout=PATIENCE)", task_id=task_id)
    assert -0.01 < began - due < 8.0
    assert sum(lying(rabbit_server, place).values()) == 1
    assert not place.ledger.starts()["distant"]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_given_quorum_queues_when_calls_fail_retry_and_join_then_all_is_as_on_classic_ones(
    place: Place, direction: str
) -> None:
    of_kind(place, QUORUM)
    caller, worker = map(engine, direction.split(">"))
    place.ready(worker, "w1@there")
    source = """
        from celery import chain, chord
        [
            outcome(fail.delay("no")),
            flaky.delay(2, countdown=1).get(timeout=PATIENCE)[0],  # less than a second is an error of Celery's there
            chain(add.s(1, 2), mul.s(3))().get(timeout=PATIENCE),
            chord([add.s(n, n) for n in range(10)], total.s())().get(timeout=PATIENCE),
            nap_late.delay(0).get(timeout=PATIENCE),
        ]
    """
    ran_by = "sedano" if worker.is_sedano else "celery"
    assert place.peer(caller).ask(source) == [("raised", "ValueError", ("no",)), 2, 9, 90, ran_by]


@pytest.mark.parametrize(("first", "second"), [("celery5.7", "sedano"), ("sedano", "celery5.7")])
def test_given_a_retry_out_of_the_delay_queues_when_the_other_engine_takes_it_then_it_goes_on(
    place: Place, first: str, second: str
) -> None:
    """A delivered message still has the bits of its delay in its routing key; the next retry must not add to them."""
    of_kind(place, QUORUM)
    place.ready(engine(first), "a@there", "-Q", "one")
    place.ready(engine(second), "b@there", "-Q", "two")
    source = (
        "hop.apply_async((['two', 'one', 'two'],), queue='one', kwargs={'countdown': 1}, countdown=1).get(timeout=PATIENCE)"
    )
    kinds = ["sedano" if engine(name).is_sedano else "celery" for name in (first, second)]
    assert place.peer(engine(first)).ask(source) == [[kinds[number % 2], number] for number in range(4)]

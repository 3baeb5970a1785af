"""kill -9 for one engine; the other finishes what it held."""

from __future__ import annotations

import random
import time

import pytest
from tests.interop import environments
from tests.interop.peers import Engine, Peer, Place, engine

from sedano.testing.faults import CrashAt
from sedano.testing.node import Node

pytestmark = [pytest.mark.celery, pytest.mark.redis]

VISIBILITY_S = 1
LEASE = ("--", "worker.lease_time=2")


@pytest.fixture(params=["5.4", pytest.param("5.7", marks=pytest.mark.long)])
def celery(request: pytest.FixtureRequest) -> Engine:
    return engine(f"celery{request.param}")


@pytest.fixture
def newest() -> Engine:
    return engine(f"celery{environments.VERSIONS[-1]}")


@pytest.fixture
def sedano() -> Engine:
    return engine("sedano")


@pytest.fixture
def place(place: Place) -> Place:
    place.settings["INTEROP_VISIBILITY"] = str(VISIBILITY_S)
    return place


def send(caller: Peer, task: str, *args: object, count: int = 1, **options: object) -> list[str]:
    source = f"[{task}.apply_async(args, **options).id for _ in range(count)]"
    ids: list[str] = caller.ask(source, args=args, options=options, count=count)
    return ids


def results(caller: Peer, ids: list[str]) -> list[object]:
    values: list[object] = caller.ask("[outcome(AsyncResult(task_id), 30) for task_id in ids]", ids=ids)
    return values


def until_visible(place: Place) -> None:
    """Wait until what dead workers hold is older than the visibility timeout. The score is the receipt, in seconds."""

    def is_old() -> bool:
        scores = [score for _, score in place.redis.zrange("unacked_index", 0, -1, withscores=True)]
        return time.time() - max(scores) > VISIBILITY_S + 0.1

    assert place.redis.zcard("unacked_index"), "nothing was held"
    place.until(is_old)


def frozen_node(place: Place, sedano: Engine, point: str, environment: CrashAt) -> Node:
    node = place.worker(sedano, f"frozen@{point}", *LEASE, environment=environment.environment(), concurrency=1)
    place.until(environment.reached)
    return node


def test_given_a_sedano_node_when_killed_then_celery_alone_finishes_what_it_held_and_what_waited(
    place: Place, celery: Engine, sedano: Engine
) -> None:
    caller, owner = place.peer(celery), place.peer(sedano)
    node = place.ready(sedano, "working@node", *LEASE)
    due = time.time() + 6
    delayed = send(caller, "now", countdown=6)
    place.until(lambda: place.redis.zcard("_sedano.delayed.celery") == 1)
    late = send(caller, "hold_late", "gate")
    early = send(caller, "hold", "gate")
    place.until_started(late + early)
    # Late ack: what a slot takes with empty hands is begun in that very step, and an early-ack call is nobody else's then.
    waiting = send(caller, "nap_late", 0.01, count=8)
    # A second node, which has taken calls out of the queue and is stopped before it runs them.
    frozen = frozen_node(place, sedano, "reserved", CrashAt("slot.turn.after", marks=place.folder, action="stop"))
    reserved = place.redis.hlen("unacked") - len(late)
    assert 1 <= reserved <= 8
    assert place.redis.llen("celery") == 8 - reserved

    node.kill()
    frozen.kill()
    done = place.run(sedano, "handback")
    assert done.returncode == 0, done.stderr
    assert "Handed back 1 call" in done.stdout
    place.open_gate("gate")
    until_visible(place)
    place.ready(celery, "rescue@celery")
    assert results(caller, waiting + late) == [("value", "celery")] * 9
    [(kind, began)] = results(caller, delayed)
    assert kind == "value"
    assert due - 0.1 <= began
    starts = place.ledger.starts()
    assert {starts[task_id] for task_id in waiting} == {1}
    assert starts[late[0]] == 2  # late ack: at least once, and it was killed while it ran
    assert not place.redis.exists("unacked", "celery")

    # Sedano comes back: the call that ran with early ack gets its outcome, and nothing runs once more.
    place.ready(sedano, "back@node", *LEASE)
    assert results(owner, early)[0][:2] == ("raised", "WorkerLostError")
    place.until(lambda: all(b"back@node" in name for name in place.redis.smembers("_sedano.owners")))
    assert place.ledger.starts() == starts
    assert results(caller, waiting) == [("value", "celery")] * 8


def test_given_a_celery_worker_when_killed_then_sedano_finishes_what_it_held_and_what_waited(
    place: Place, celery: Engine, sedano: Engine
) -> None:
    caller = place.peer(sedano)
    node = place.ready(celery, "working@celery")
    late = send(caller, "hold_late", "gate", count=2)
    place.until_started(late)
    waiting = send(caller, "nap", 0.01, count=12)
    for_later = send(caller, "now", countdown=3, priority=6)
    # Two run, the prefetch of four a process is full with calls that were not started, the rest waits.
    place.until(lambda: place.redis.hlen("unacked") >= 8)

    node.kill()
    place.open_gate("gate")
    until_visible(place)
    place.ready(sedano, "rescue@sedano", *LEASE)
    assert results(caller, waiting + late) == [("value", "sedano")] * 14
    assert results(caller, for_later)[0][0] == "value"
    starts = place.ledger.starts()
    assert {starts[task_id] for task_id in waiting} == {1}
    assert {starts[task_id] for task_id in late} == {2}
    place.until(lambda: not place.redis.exists("unacked", "unacked_index", "celery"))


def test_given_a_celery_worker_when_stopped_warm_then_what_it_had_taken_goes_on_with_sedano_at_once(
    place: Place, newest: Engine, sedano: Engine
) -> None:
    caller = place.peer(sedano)
    node = place.ready(newest, "leaving@celery")
    running = send(caller, "hold_late", "gate", count=2)
    place.until_started(running)
    waiting = send(caller, "nap", 0.01, count=6)
    for_later = send(caller, "now", countdown=3)
    place.until(lambda: place.redis.hlen("unacked") >= 8)
    place.ready(sedano, "staying@sedano", *LEASE)
    node.signal(15)
    place.open_gate("gate")
    assert node.wait() == 0
    assert {kind for kind, _ in results(caller, running + waiting + for_later)} == {"value"}
    starts = place.ledger.starts()
    # A slow machine lets Celery give back late-ack calls that it still runs: it closes its channel before their acks are out.
    assert {starts[task_id] for task_id in waiting} == {1}
    assert {starts[task_id] for task_id in running} <= {1, 2}


def test_given_a_sedano_node_when_it_stops_then_celery_has_what_it_did_not_begin_and_what_was_delayed(
    place: Place, newest: Engine, sedano: Engine
) -> None:
    caller = place.peer(newest)
    node = place.ready(sedano, "leaving@sedano", *LEASE)
    delayed = send(caller, "now", countdown=3)
    place.until(lambda: place.redis.zcard("_sedano.delayed.celery") == 1)
    running = send(caller, "hold_late", "gate", count=2)
    place.until_started(running)
    waiting = send(caller, "nap", 0.01, count=6)
    node.signal(15)
    place.open_gate("gate")
    assert node.wait() == 0
    # No handback by hand: the last node that stops does it.
    assert not place.redis.exists("_sedano.delayed.celery", "unacked")
    place.ready(newest, "staying@celery")
    assert results(caller, running) == [("value", "sedano")] * 2
    assert {kind for kind, _ in results(caller, waiting + delayed)} == {"value"}
    assert set(place.ledger.starts().values()) == {1}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_given_a_mixed_fleet_when_workers_of_both_kinds_are_killed_all_the_time_then_no_late_ack_call_is_lost(
    place: Place, celery: Engine, sedano: Engine
) -> None:
    chance = random.Random(5)
    caller = place.peer(celery)
    nodes = [
        place.ready(kind, f"{n}@{kind.name}", *(LEASE if kind.is_sedano else ())) for n in "ab" for kind in (sedano, celery)
    ]
    ids = send(caller, "nap_late", 0.02, count=3000)
    for round_ in range(8):
        place.until(lambda done=300 * (round_ + 1): sum(place.ledger.ends().values()) >= done, 60)
        at = chance.randrange(len(nodes))
        kind = sedano if at % 2 == 0 else celery
        nodes[at].kill()
        nodes[at] = place.ready(kind, f"{round_}-{at}@{kind.name}", *(LEASE if kind.is_sedano else ()))
    outcomes = caller.ask("[outcome(AsyncResult(task_id), 120) for task_id in ids]", ids=ids)
    assert {kind for kind, *_ in outcomes} == {"value"}
    assert set(place.ledger.ends()) == set(ids)

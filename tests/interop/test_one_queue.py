"""A Celery worker and a Sedano worker on one queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.interop.peers import Peer, Place, engine
from tests.servers import RedisServer

from sedano.testing.node import Node

pytestmark = [pytest.mark.celery, pytest.mark.redis]

NAP_S = 0.01
"""Long beside what either engine adds to a call, so that both have a fair part whatever their overhead is."""


class Fleet:
    """One worker of each engine; each also reads a queue of its own, `only-celery` and `only-sedano`."""

    def __init__(self, place: Place, version: str) -> None:
        self.place = place
        celery, sedano = engine(f"celery{version}"), engine("sedano")
        self.sedano: Node = place.worker(sedano, "s@fleet", "-Q", "celery,only-sedano")
        # With mingle and gossip, as people start it: it must not mind the neighbour.
        self.celery: Node = place.worker(celery, "c@fleet", "--with-mingle", "-Q", "celery,only-celery", "-E")
        self.from_celery: Peer = place.peer(celery)
        self.from_sedano: Peer = place.peer(sedano)
        for node in (self.sedano, self.celery):
            node.wait_ready()
        place.until_heard("s@fleet", "c@fleet")


@pytest.fixture(scope="module", params=["5.7", pytest.param("5.4", marks=pytest.mark.long)])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with RedisServer() as server:
        place = Place(server, 0, tmp_path_factory.mktemp("fleet"))
        try:
            yield Fleet(place, request.param)
        finally:
            place.close()


@pytest.mark.parametrize("caller", ["from_celery", "from_sedano"])
def test_given_500_calls_in_one_queue_when_both_work_then_each_ran_a_part_and_none_ran_twice(fleet: Fleet, caller: str) -> None:
    source = """
        sent = [nap.delay(seconds) for _ in range(500)]
        [(result.id, result.get(timeout=60)) for result in sent]
    """
    ran = getattr(fleet, caller).ask(source, seconds=NAP_S)
    assert len({task_id for task_id, _ in ran}) == 500
    parts = Counter(who for _, who in ran)
    assert parts["celery"] + parts["sedano"] == 500
    assert min(parts.values()) >= 100, parts
    starts, ends = fleet.place.ledger.starts(), fleet.place.ledger.ends()
    assert {(starts[task_id], ends[task_id]) for task_id, _ in ran} == {(1, 1)}
    fleet.place.until(lambda: not fleet.place.redis.exists("celery", "unacked", "unacked_index"))


def test_given_a_retry_of_one_engine_when_the_other_gets_it_then_it_goes_on_there_and_back(fleet: Fleet) -> None:
    queues = ["only-celery", "only-sedano", "only-celery", "only-celery", "only-sedano", "only-sedano"]
    source = "hop.apply_async((queues[1:],), queue=queues[0]).get(timeout=PATIENCE)"
    for caller in (fleet.from_celery, fleet.from_sedano):
        trail = caller.ask(source, queues=queues)
        assert trail == [[queue.removeprefix("only-"), retries] for retries, queue in enumerate(queues)]


def test_given_a_chain_of_celerys_when_its_steps_run_on_either_engine_then_the_last_has_the_result(fleet: Fleet) -> None:
    source = """
        from celery import chain
        steps = [add.s(1), mul.s(2)] * 5
        queues = ["only-celery", "only-sedano", "only-sedano"] * 4
        chain(add.s(0, 1), *(step.set(queue=queue) for step, queue in zip(steps, queues)))().get(timeout=PATIENCE)
    """
    value = 1
    for _ in range(5):
        value = (value + 1) * 2
    assert fleet.from_celery.ask(source) == value


def test_given_both_workers_when_pinged_by_either_engine_then_both_answer(fleet: Fleet) -> None:
    pong = {"ok": "pong"}
    for caller in (fleet.from_celery, fleet.from_sedano):
        assert caller.ask("app.control.inspect(timeout=PATIENCE, limit=2).ping()") == {"s@fleet": pong, "c@fleet": pong}


def test_given_both_workers_when_a_call_for_later_is_revoked_then_neither_runs_it(fleet: Fleet) -> None:
    source = """
        sent = [mark.apply_async((f"{name}-{n}",), countdown=4) for n in range(8)]
        for result in sent:
            result.revoke()
        [result.get(timeout=PATIENCE, propagate=False) for result in sent]
        [result.state for result in sent]
    """
    for caller, name in ((fleet.from_celery, "by-celery"), (fleet.from_sedano, "by-sedano")):
        assert caller.ask(source, name=name) == ["REVOKED"] * 8
        assert not {f"{name}-{n}" for n in range(8)} & set(fleet.place.ledger.starts())


def test_given_a_fleet_that_did_all_this_then_no_worker_complains(fleet: Fleet) -> None:
    for node in (fleet.celery, fleet.sedano):
        bad = [line for line in node.lines if "Traceback" in line or "CRITICAL" in line or ": ERROR/" in line]
        assert not bad, node.log()

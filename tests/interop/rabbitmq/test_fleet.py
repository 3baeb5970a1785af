"""A Celery worker and a Sedano worker on one RabbitMQ: one queue, one set of commands, one stream of events, one Flower."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.interop import environments
from tests.interop.peers import PROJECT, Engine, Peer, Place, engine
from tests.interop.test_flower import Flower
from tests.rabbit import RabbitServer
from tests.servers import RedisServer

from sedano.testing.node import Node

pytestmark = [pytest.mark.celery, pytest.mark.rabbitmq, pytest.mark.redis]

NAP_S = 0.01
S, C = "s@fleet", "c@fleet"
CALLERS = ("from_celery", "from_sedano")


class Fleet:
    """One worker of each engine; each also reads a queue of its own, `only-celery` and `only-sedano`. With `ours` another
    engine than Sedano, what these tests expect is tried on a fleet of Celery alone."""

    def __init__(self, place: Place, version: str, ours: str = "sedano") -> None:
        self.place = place
        celery, sedano = engine(f"celery{version}"), engine(ours)
        self.sedano: Node = place.worker(sedano, S, "-Q", "celery,only-sedano", "--with-mingle", "-E").wait_ready(120)
        self.celery: Node = place.worker(celery, C, "-Q", "celery,only-celery", "--with-mingle", "-E")
        self.from_celery: Peer = place.peer(celery)
        self.from_sedano: Peer = place.peer(sedano)
        self.celery.wait_ready(120)
        self.engines = {"celery": celery, "sedano": sedano}
        self.kinds = {S: "sedano" if sedano.is_sedano else "celery", C: "celery"}


@pytest.fixture(
    scope="module",
    params=["5.7+sedano", *(pytest.param(one, marks=pytest.mark.long) for one in ("5.4+sedano", "5.7+celery5.7"))],
)
def fleet(
    request: pytest.FixtureRequest,
    rabbit_server: RabbitServer,
    interop_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    version, ours = request.param.split("+")
    broker = rabbit_server.new_vhost()
    place = Place(interop_server, 7, tmp_path_factory.mktemp("fleet"), broker=broker)
    try:
        yield Fleet(place, version, ours)
    finally:
        place.close()
        rabbit_server.delete_vhost(broker)


def test_given_two_workers_then_each_hears_of_the_other_at_its_start_and_after(fleet: Fleet) -> None:
    fleet.celery.wait_for_line(r"mingle: sync with 1 nodes")
    fleet.celery.wait_for_line(r"mingle: sync complete")
    fleet.sedano.wait_for_line(rf"{C} joined the party|gossip.*{C}|sync with {C}")


@pytest.mark.parametrize("caller", CALLERS)
def test_given_400_calls_in_one_queue_when_both_work_then_each_ran_a_part_and_none_ran_twice(fleet: Fleet, caller: str) -> None:
    source = """
        sent = [nap.delay(seconds) for _ in range(400)]
        [(result.id, result.get(timeout=60)) for result in sent]
    """
    ran = getattr(fleet, caller).ask(source, seconds=NAP_S)
    assert len({task_id for task_id, _ in ran}) == 400
    parts = Counter(who for _, who in ran)
    assert sum(parts.values()) == 400
    assert min(parts.values()) >= 60, parts
    assert set(parts) == set(fleet.kinds.values())
    starts, ends = fleet.place.ledger.starts(), fleet.place.ledger.ends()
    assert {(starts[task_id], ends[task_id]) for task_id, _ in ran} == {(1, 1)}


def test_given_a_retry_of_one_engine_when_the_other_gets_it_then_it_goes_on_there_and_back(fleet: Fleet) -> None:
    queues = ["only-celery", "only-sedano", "only-celery", "only-celery", "only-sedano", "only-sedano"]
    source = "hop.apply_async((queues[1:],), queue=queues[0]).get(timeout=PATIENCE)"
    ran_by = {"only-celery": "celery", "only-sedano": fleet.kinds[S]}
    for caller in (fleet.from_celery, fleet.from_sedano):
        trail = caller.ask(source, queues=queues)
        assert trail == [[ran_by[queue], retries] for retries, queue in enumerate(queues)]


@pytest.mark.parametrize("caller", CALLERS)
def test_given_workflows_when_both_engines_run_them_then_they_give_what_they_should(fleet: Fleet, caller: str) -> None:
    source = """
        from celery import chain, chord, group
        steps = [add.s(1), mul.s(2)] * 3
        queues = ["only-celery", "only-sedano", "only-sedano"] * 2
        [
            chain(add.s(0, 1), *(step.set(queue=queue) for step, queue in zip(steps, queues)))().get(timeout=PATIENCE),
            chord([add.s(n, n) for n in range(20)], total.s())().get(timeout=PATIENCE),
            (group(mul.s(1, 2), mul.s(3, 4)) | total.s() | add.s(1))().get(timeout=PATIENCE),
            fan_out.delay(3).get(timeout=PATIENCE),
        ]
    """
    assert getattr(fleet, caller).ask(source) == [22, 380, 15, 6]


@pytest.mark.parametrize("caller", CALLERS)
def test_given_both_workers_when_inspected_by_either_engine_then_both_answer(fleet: Fleet, caller: str) -> None:
    source = """
        inspect = app.control.inspect(timeout=PATIENCE, limit=2)
        [inspect.ping(), inspect.active_queues(), inspect.stats(), inspect.registered(), inspect.conf()]
    """
    ping, queues, stats, registered, conf = getattr(fleet, caller).ask(source)
    assert ping == {S: {"ok": "pong"}, C: {"ok": "pong"}}
    assert {name: {queue["name"] for queue in told} for name, told in queues.items()} == {
        S: {"celery", "only-sedano"}, C: {"celery", "only-celery"},
    }  # fmt: skip
    columns = ("name", "exchange", "routing_key", "durable", "exclusive", "auto_delete", "no_ack", "queue_arguments")
    shared = [
        {name: queue[name] for name in columns} for told in queues.values() for queue in told if queue["name"] == "celery"
    ]
    assert shared[0] == shared[1]
    for told in stats.values():
        assert told["broker"]["transport"] in ("amqp", "pyamqp")
        assert told["broker"]["port"] == int(fleet.place.broker.split(":")[3].split("/")[0])
    assert {"calc.add", "calc.hop"} <= set(registered[S]) & set(registered[C])
    assert set(conf) == {S, C}


@pytest.mark.parametrize("caller", CALLERS)
def test_given_both_workers_when_calls_for_later_are_revoked_then_neither_runs_them(fleet: Fleet, caller: str) -> None:
    source = """
        sent = [mark.apply_async((f"{name}-{n}",), countdown=2) for n in range(8)]
        for result in sent:
            result.revoke()
        [result.get(timeout=PATIENCE, propagate=False) for result in sent]
        [result.state for result in sent]
    """
    assert getattr(fleet, caller).ask(source, name=caller) == ["REVOKED"] * 8
    assert not {f"{caller}-{n}" for n in range(8)} & set(fleet.place.ledger.starts())


@pytest.mark.parametrize("caller", CALLERS)
def test_given_a_new_queue_when_a_worker_is_told_to_read_it_then_it_does_until_told_not_to(fleet: Fleet, caller: str) -> None:
    source = """
        told = app.control.add_consumer(queue, destination=[name], reply=True, timeout=PATIENCE)
        value = nap.apply_async((0,), queue=queue).get(timeout=PATIENCE)
        [told, value, app.control.cancel_consumer(queue, destination=[name], reply=True, timeout=PATIENCE)]
    """
    for name in (S, C):
        queue = f"more-{caller}-{name[0]}"
        told, ran_by, cancelled = getattr(fleet, caller).ask(source, queue=queue, name=name)
        assert told == [{name: {"ok": f"add consumer {queue}"}}]
        assert ran_by == fleet.kinds[name]
        assert cancelled == [{name: {"ok": f"no longer consuming from {queue}"}}]


class Dump:
    """`events --dump` of an engine."""

    def __init__(self, of: Engine, place: Place, file: Path) -> None:
        self._file = file
        with file.open("w") as out:
            self._process = subprocess.Popen(
                [of.python, *of.command, "-A", "calc", "events", "--dump"],
                cwd=PROJECT,
                env=environments.clean_environment(place.environment()),
                stdout=out,
                stderr=subprocess.DEVNULL,
            )

    def text(self) -> str:
        return self._file.read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)


def test_given_events_of_both_then_the_dumps_of_both_engines_have_them(fleet: Fleet, tmp_path: Path) -> None:
    with (
        closing(Dump(fleet.engines["celery"], fleet.place, tmp_path / "theirs")) as theirs,
        closing(Dump(fleet.engines["sedano"], fleet.place, tmp_path / "ours")) as ours,
    ):
        for name in (S, C):  # a receiver's first act is to ask for a heartbeat of each
            fleet.place.until(lambda name=name: all(f"{name} [" in dump.text() for dump in (theirs, ours)))
        source = "[add.apply_async((2, 3), queue=queue).id for queue in ('only-celery', 'only-sedano')]"
        ids: list[str] = fleet.from_celery.ask(source)
        for task_id in ids:
            for dump in (theirs, ours):
                fleet.place.until(
                    lambda dump=dump, task_id=task_id: "task succeeded" in lines_of(dump, task_id),
                    30,
                )
                told = lines_of(dump, task_id)
                assert told.index("task received") < told.index("task started") < told.index("task succeeded")


def lines_of(dump: Dump, task_id: str) -> str:
    return "\n".join(line for line in dump.text().splitlines() if task_id in line)


FOLLOW = """
    state, seen = app.events.State(), []
    def note(event):
        state.event(event)
        if event["type"].startswith("worker-") and not seen:
            seen.extend(add.apply_async((1, n), queue=queue).id for n in range(3) for queue in ("only-celery", "only-sedano"))
        if seen and all(task_id in state.tasks and state.tasks[task_id].state == "SUCCESS" for task_id in seen):
            receiver.should_stop = True
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": note})
        receiver.capture(limit=None, timeout=PATIENCE, wakeup=True)
    [sorted({state.tasks[task_id].worker.hostname for task_id in seen}),
     [state.tasks[task_id].result for task_id in seen], sorted(name for name, worker in state.workers.items() if worker.alive)]
"""


@pytest.mark.parametrize("caller", CALLERS)
def test_given_events_of_both_then_the_state_of_either_engine_follows_them(fleet: Fleet, caller: str) -> None:
    workers, results, alive = getattr(fleet, caller).ask(FOLLOW)
    assert workers == sorted((S, C))
    assert results == [str(1 + n) for n in range(3) for _ in range(2)]
    assert alive == sorted((S, C))


@pytest.fixture(scope="module")
def flower(fleet: Fleet, rabbit_server: RabbitServer) -> Iterator[Flower]:
    flower = Flower(fleet.place, f"--broker-api={rabbit_server.management_url}", app="calc")
    try:
        fleet.place.until(lambda: flower.ask("/api/workers")[0] == 200)
        fleet.place.until_equal(lambda: set(flower.json("/api/workers?refresh=1")), {S, C})
        yield flower
    finally:
        flower.close()


def test_given_flower_then_it_shows_both_workers_and_their_tasks(fleet: Fleet, flower: Flower) -> None:
    wanted: dict[str, Any] = {S: True, C: True}
    fleet.place.until_equal(lambda: {row["hostname"]: row["status"] for row in flower.json("/workers?json=1")["data"]}, wanted)
    for name in (S, C):
        assert flower.ask(f"/worker/{name}")[0] == 200
    source = "[add.apply_async((2, 3), queue=queue).id for queue in ('only-sedano', 'only-celery')]"
    ids = fleet.from_celery.ask(source)
    for task_id, worker in zip(ids, (S, C), strict=True):
        told = flower.task(task_id, "SUCCESS")
        assert (told["worker"], told["result"], told["name"]) == (worker, "5", "calc.add")


def test_given_the_broker_tab_of_flower_then_it_shows_what_lies_in_the_queues_of_both(fleet: Fleet, flower: Flower) -> None:
    def lengths() -> dict[str, int]:
        # Which queues are read Flower asks now and then: it may have done so while another test had one more.
        assert flower.ask("/api/workers?refresh=1")[0] == 200
        return {queue["name"]: queue["messages"] for queue in flower.json("/api/queues/length")["active_queues"]}

    fleet.place.until_equal(lengths, {"celery": 0, "only-celery": 0, "only-sedano": 0})
    assert flower.ask("/broker")[0] == 200


def test_given_a_fleet_that_did_all_this_then_no_worker_complains(fleet: Fleet) -> None:
    for node in (fleet.celery, fleet.sedano):
        bad = [line for line in node.lines if "Traceback" in line or "CRITICAL" in line or ": ERROR/" in line]
        assert not bad, node.log()

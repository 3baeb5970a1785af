"""What is told to a fleet of both kinds is known to all of it: revokes, rates, and who was elected."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.interop.eavesdrop import Eavesdropper, Event
from tests.interop.peers import Peer, Place, engine, folder_for, place_of_its_own
from tests.servers import RedisServer

from sedano.testing.node import Node

pytestmark = [pytest.mark.redis, pytest.mark.celery]

KINDS = {"s1@here": "sedano", "s2@here": "sedano", "c1@here": "celery5.7", "c2@here": "celery5.4"}


class Fleet:
    """Workers of both kinds that hear each other, each with a queue of its own, and who orders them."""

    def __init__(self, place: Place, kinds: dict[str, str]) -> None:
        self.place, self.kinds = place, kinds
        self.nodes = {name: self.start(name, of) for name, of in kinds.items()}
        self.peer: Peer = place.peer(engine("celery5.7"))
        for node in self.nodes.values():
            node.wait_ready()
        place.until_heard(*kinds)

    def start(self, name: str, of: str) -> Node:
        return self.place.worker(engine(of), name, "-Q", name.split("@")[0], "--with-mingle", "-l", "DEBUG", concurrency=1)

    def broadcast(self, command: str, *, to: list[str] | None = None, **arguments: Any) -> dict[str, Any]:
        """What each node answers."""
        said = self.peer.ask(
            "app.control.broadcast(command, arguments, destination=to, reply=True, timeout=PATIENCE, limit=limit)",
            command=command, arguments=arguments, to=to, limit=len(to or self.kinds),
        )  # fmt: skip
        return {name: answer for one in said for name, answer in one.items()}

    def elect(self, election_id: str) -> None:
        self.peer.ask(
            "app.control.election(election_id, 'task', mark.si(election_id).set(queue='s1'))", election_id=election_id
        )


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with place_of_its_own("mixed", tmp_path_factory.mktemp("orders")) as place:
        try:
            yield Fleet(place, KINDS)
        finally:
            for node in place.nodes:
                if node.process.poll() is None:
                    node.signal(signal.SIGCONT)


def test_given_an_id_when_revoked_for_all_then_no_worker_of_either_kind_starts_its_call(fleet: Fleet) -> None:
    ids = {name: f"revoked-{name.split('@')[0]}" for name in KINDS}
    assert set(fleet.broadcast("revoke", task_id=list(ids.values()))) == set(KINDS)
    for name, task_id in ids.items():
        state = fleet.peer.ask(
            """
            result = app.send_task("calc.mark", task_id=task_id, queue=queue)
            app.send_task("calc.mark", task_id="after-" + task_id, queue=queue).get(timeout=PATIENCE)
            result.get(timeout=PATIENCE, propagate=False)
            result.state
            """,
            task_id=task_id, queue=name.split("@")[0],
        )  # fmt: skip
        assert state == "REVOKED", name
    assert [task_id for task_id in ids.values() if fleet.place.ledger.starts()[task_id]] == []


def test_given_a_rate_when_set_for_all_then_every_worker_has_it(fleet: Fleet) -> None:
    said = fleet.broadcast("rate_limit", task_name="calc.add", rate_limit="600/m")
    assert said == {name: {"ok": "new rate limit set successfully"} for name in KINDS}
    known = fleet.broadcast("registered", taskinfoitems=["rate_limit"])
    assert {name for name, tasks in known.items() if "calc.add [rate_limit=600/m]" in tasks} == set(KINDS)


def strangers_of(fleet: Fleet, name: str) -> list[str]:
    """Whom this node has not heard of, by its log."""
    log = fleet.nodes[name].log()
    return [other for other in fleet.nodes if other != name and f"{other} joined the party" not in log]


def until_acquainted(fleet: Fleet) -> None:
    """Until each knows all others, and counts them as alive: they have just sent a heartbeat. Who misses others counts itself
    as elected before they have spoken; a Celery worker that counts before anybody else stands has an IndexError and ends."""
    fleet.place.until_equal(lambda: [strangers_of(fleet, name) for name in fleet.nodes], [[] for _ in fleet.nodes])
    with Eavesdropper(fleet.place.server, fleet.place.db) as heard:
        heard.until_beats(fleet.nodes)


def of_whom(kind: str, events: list[Event]) -> list[str]:
    return [event["hostname"] for event in events if event["type"] == kind]


def has_heard(node: Node, election_id: str) -> bool:
    """Whether it knows who won."""
    return any(f"elected for '{election_id}'" in line or f"won the election '{election_id}'" in line for line in node.lines)


def times_missed(node: Node, other: str) -> int:
    return sum(f"missed heartbeat from {other}" in line for line in node.lines)


def acted(fleet: Fleet, election_id: str) -> int:
    """How often the elected acted. All that was sent before this has run when it returns."""
    fleet.peer.ask("app.send_task('calc.mark', ['last'], queue='s1').get(timeout=PATIENCE)")
    return fleet.place.ledger.starts()[election_id]


def test_given_a_fleet_of_both_kinds_when_elections_are_held_then_each_is_acted_on_once(fleet: Fleet) -> None:
    for n in range(5):
        until_acquainted(fleet)
        fleet.elect(f"elected-{n}")
    fleet.place.until_started([f"elected-{n}" for n in range(5)])
    all_five = {f"elected-{n}" for n in range(5)}
    fleet.place.until_equal(
        lambda: {name: {each for each in all_five if not has_heard(node, each)} for name, node in fleet.nodes.items()},
        {name: set() for name in fleet.nodes},
    )
    assert [acted(fleet, f"elected-{n}") for n in range(5)] == [1] * 5


def test_given_nodes_of_ours_that_are_busy_with_a_command_when_an_election_is_held_then_they_stand_before_they_acknowledge(
    tmp_path: Path,
) -> None:
    """What a Celery worker sees to, which has one loop for all it hears; else it has an IndexError, and ends."""
    ours = ["s1@here", "s2@here"]
    with place_of_its_own("busy", tmp_path) as place:
        fleet = Fleet(place, {name: KINDS[name] for name in (*ours, "c1@here")})
        until_acquainted(fleet)
        fleet.peer.ask("app.control.broadcast('wait_for_gate', {'gate': 'open'}, destination=to)", to=ours)
        place.until_started(ours)
        with Eavesdropper(place.server, place.db) as heard:
            fleet.elect("behind")
            heard.until(lambda events: "c1@here" in of_whom("worker-elect-ack", events))
            heard.until_beats({name: fleet.nodes[name] for name in ours}, 2)
            place.open_gate("open")
            place.until_equal(lambda: [has_heard(node, "behind") for node in fleet.nodes.values()], [True] * 3)
            heard.until(lambda events: set(of_whom("worker-elect-ack", events)) == set(fleet.nodes))
            said = [(event["hostname"], event["type"]) for event in heard.events if event["type"].startswith("worker-elect")]
        for name in fleet.nodes:
            assert said.index((name, "worker-elect")) < said.index((name, "worker-elect-ack"))
        place.until_started(["behind"])
        assert acted(fleet, "behind") == 1


@pytest.mark.parametrize("stopped", ["s2@here", "c1@here"])
def test_given_a_stopped_worker_when_an_election_is_held_then_it_is_acted_on_once_and_not_again_later(
    fleet: Fleet, stopped: str
) -> None:
    until_acquainted(fleet)
    election = f"without-{stopped}"
    fleet.nodes[stopped].signal(signal.SIGSTOP)
    rest = [node for name, node in fleet.nodes.items() if name != stopped]
    before = {node.name: times_missed(node, stopped) for node in rest}
    try:
        # All are to count alike: it takes some seconds until the last one has noticed.
        fleet.place.until_equal(lambda: [node.name for node in rest if times_missed(node, stopped) == before[node.name]], [])
        fleet.elect(election)
        fleet.place.until_started([election])
        fleet.place.until_equal(lambda: [node.name for node in rest if not has_heard(node, election)], [])
        assert acted(fleet, election) == 1
    finally:
        fleet.nodes[stopped].signal(signal.SIGCONT)
    fleet.place.until(lambda: has_heard(fleet.nodes[stopped], election))
    assert acted(fleet, election) == 1


def test_given_revokes_when_a_celery_worker_starts_then_it_learns_them_from_ours(tmp_path: Any) -> None:
    with RedisServer() as server:
        place = Place(server, 0, folder_for("late", tmp_path))
        try:
            fleet = Fleet(place, {"s1@here": "sedano"})
            fleet.broadcast("revoke", task_id=["told-before"])
            late = {name: fleet.start(name, of) for name, of in KINDS.items() if of != "sedano"}
            for node in late.values():
                node.wait_ready()
            place.until_heard(*late)
            for name in late:
                assert fleet.broadcast("revoked", to=[name]) == {name: ["told-before"]}
        finally:
            place.close()


def test_given_revokes_when_our_worker_starts_then_it_learns_them_from_celerys(tmp_path: Any) -> None:
    with RedisServer() as server:
        place = Place(server, 0, folder_for("late", tmp_path))
        try:
            fleet = Fleet(place, {"c1@here": "celery5.7"})
            fleet.broadcast("revoke", task_id=["told-before"])
            fleet.start("s1@here", "sedano").wait_ready()
            place.until_equal(lambda: fleet.broadcast("revoked", to=["s1@here"]), {"s1@here": ["told-before"]})
            state = fleet.peer.ask(
                """
                result = app.send_task("calc.mark", task_id="told-before", queue="s1")
                result.get(timeout=PATIENCE, propagate=False)
                result.state
                """
            )
            assert (state, place.ledger.starts()["told-before"]) == ("REVOKED", 0)
        finally:
            place.close()

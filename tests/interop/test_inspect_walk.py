"""Celery's `inspect` walks over a worker of each kind: all that it asks is answered in the same shape. Ours sees both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.comparing import shapes_differ
from tests.interop.peers import Peer, Place, engine, place_of_its_own

pytestmark = [pytest.mark.redis, pytest.mark.celery]

OURS, THEIRS = "s1@here", "c1@here"
BOTH = f"{OURS},{THEIRS}"
REVOKED = "11111111-1111-1111-1111-111111111111"
QUESTIONS = (
    *("active", "reserved", "scheduled", "revoked", "registered", "stats", "active_queues", "conf", "report", "clock", "ping"),
    "query_task s1-runs s1-later c1-runs c1-later nosuch",
)
ASKED_BY_5_4 = ("active", "scheduled", "revoked", "stats", "active_queues")
ASKED_BY_US = ("active", "stats", QUESTIONS[-1])
SEND = """
for queue in ("s1", "c1"):
    app.send_task("lives.slow", ["open"], task_id=queue + "-runs", queue=queue)
    app.send_task("lives.fine", [1], {"y": 2}, task_id=queue + "-later", queue=queue, countdown=600)
app.control.revoke([revoked], reply=True, timeout=PATIENCE, limit=2)
"""
IS_KEPT = "bool(app.control.inspect(['c1@here'], timeout=PATIENCE).query_task(['c1-later'])['c1@here'])"
COMMAND = """
from celery.bin.celery import celery
from click.testing import CliRunner
done = CliRunner().invoke(celery, words)
(done.exit_code, done.output)
"""

# A server on a socket is shown with its path; settings are each engine's own but for these.
SOCKET = ("broker.hostname", "broker.port", "broker.uri_prefix")
NOT_SET_BY_BOTH = ("worker_concurrency",)
IGNORED = {
    "stats": SOCKET,
    "active_queues": ("paused",),
    "conf": NOT_SET_BY_BOTH,
}


class Fleet:
    """One worker of each kind, with a call that runs, one that waits for its time, and an id that is revoked.

    Commands of Celery run in processes that have it at hand: to start it takes longer than to ask.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        for of, name in (("sedano", OURS), ("celery5.7", THEIRS)):
            place.worker(engine(of), name, "-Q", name.split("@")[0], "--with-mingle", app="lives")
        self.peers: dict[str, Peer] = {of: place.peer(engine(of)) for of in ("celery5.7", "celery5.4")}
        for node in place.nodes:
            node.wait_ready()
        place.until_heard(OURS, THEIRS)
        self.peers["celery5.7"].ask(SEND, revoked=REVOKED)
        place.until_started(["s1-runs", "c1-runs"])
        place.until(lambda: self.peers["celery5.7"].ask(IS_KEPT))

    def command(self, of: str, words: str, to: str = BOTH) -> tuple[int, str]:
        """(exit code, output) of a command to both."""
        command, *rest = words.split()
        asked = [command, "-t", "60", "-d", to, *rest]
        if of in self.peers:
            code, text = self.peers[of].ask(COMMAND, words=["-A", "lives", *asked])
            return code, text
        done = self.place.run(engine(of), *asked, app="lives")
        return done.returncode, done.stdout

    def ask(self, of: str, question: str) -> dict[str, Any]:
        """The document of `inspect QUESTION -j`."""
        code, text = self.command(of, f"inspect -j {question}")
        assert code == 0, text
        answer: dict[str, Any] = json.loads(text)
        return answer


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with place_of_its_own("walk", tmp_path_factory.mktemp("inspect")) as place:
        try:
            yield Fleet(place)
        finally:
            place.open_gate("open")


def test_given_a_worker_of_each_kind_when_celerys_inspect_asks_then_both_answer_in_the_same_shape(fleet: Fleet) -> None:
    asked = [*(("celery5.7", one) for one in QUESTIONS), *(("celery5.4", one) for one in ASKED_BY_5_4)]
    asked += [("sedano", one) for one in ASKED_BY_US]
    different = []
    for by, question in asked:
        said = fleet.ask(by, question)
        assert set(said) == {OURS, THEIRS}, (by, question)
        ours, theirs = (_without_its_name(said[node], node) for node in (OURS, THEIRS))
        different += [(by, question, line) for line in shapes_differ(ours, theirs, ignore=IGNORED.get(question, ()))]
    assert different == []


def _without_its_name(answer: Any, node: str) -> Any:
    """Ids begin with the name of the node's queue."""
    return {key.removeprefix(node.split("@")[0]): value for key, value in answer.items()} if type(answer) is dict else answer


def test_given_the_states_of_calls_when_celery_asks_for_them_then_each_node_tells_its_own(fleet: Fleet) -> None:
    ask = fleet.ask
    assert {node: [call["id"] for call in said] for node, said in ask("celery5.7", "active").items()} == {
        OURS: ["s1-runs"],
        THEIRS: ["c1-runs"],
    }
    assert {node: [call["request"]["id"] for call in said] for node, said in ask("celery5.7", "scheduled").items()} == {
        OURS: ["s1-later"],
        THEIRS: ["c1-later"],
    }
    assert ask("celery5.7", "revoked") == {OURS: [REVOKED], THEIRS: [REVOKED]}
    known = ask("celery5.7", "registered")
    assert known[OURS] == known[THEIRS]
    states = ask("celery5.7", QUESTIONS[-1])
    assert {task_id: state for said in states.values() for task_id, (state, _) in said.items()} == {
        "s1-runs": "active",
        "s1-later": "scheduled",
        "c1-runs": "active",
        "c1-later": "scheduled",
    }


def test_given_a_call_that_runs_when_asked_for_twice_then_it_began_at_the_same_time(fleet: Fleet) -> None:
    began = [{node: said[0]["time_start"] for node, said in fleet.ask("celery5.7", "active").items()} for _ in range(2)]
    assert began[0] == began[1]


TEXTS = [
    ("status", ""),
    ("inspect ping", "        pong"),
    ("control rate_limit lives.fine 100/s", "        new rate limit set successfully"),
    ("control time_limit lives.fine 10 20", "        time limits set successfully"),
]


@pytest.mark.parametrize(("words", "said"), TEXTS, ids=[words for words, _ in TEXTS])
@pytest.mark.parametrize("of", ["celery5.7", "sedano"])
def test_given_both_nodes_when_the_command_of_either_engine_asks_in_words_then_both_are_shown(
    fleet: Fleet, of: str, words: str, said: str
) -> None:
    code, text = fleet.command(of, words)
    lines = [line for line in text.splitlines() if line]
    answers = [f"->  {node}: OK" for node in (OURS, THEIRS)] + ([said] * 2 if said else [])
    count = [] if words.startswith("control") else ["2 nodes online."]
    assert (code, sorted(lines)) == (0, sorted(answers + count))


@pytest.mark.parametrize("node", [OURS, THEIRS])
def test_given_one_node_when_only_it_is_pinged_then_only_it_answers(fleet: Fleet, node: str) -> None:
    shown = [f"->  {node}: OK", "        pong", "", "1 node online."]
    code, text = fleet.command("celery5.7", "inspect ping", to=node)
    assert (code, text.splitlines()) == (0, shown)

"""Commands to a node over the memory bus, answered in Celery's form."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC
from typing import Any

import pytest

from sedano.app.lamport import LamportClock
from sedano.app.panel import Panel, control_command, inspect_command
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Bus, OpenOptions, Revoke
from sedano.drivers import memory
from sedano.exceptions import BrokerUnavailable
from sedano.protocol import control
from sedano.protocol.control import REPLY_EXCHANGE, ReplyTo
from sedano.worker.control.revokes import Revokes
from sedano.worker.control.stores import ControlStores
from sedano.worker.mailbox import NodeHands, NodeMailbox
from sedano.worker.records import Records
from sedano.worker.table import SharedTable
from sedano.worker.terms import ResultTerms

NODE = "w1@test"


class Asker:
    """A client and the node that hears it."""

    def __init__(self) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.bus = memory.open_bus(self.url, OpenOptions())
        self.is_cut_off = False
        self.coordination = memory.open_coordination(self.url, OpenOptions())
        self.ended: list[tuple[set[str], int]] = []
        self.running: set[str] = set()
        self.shut_down = False
        stores = ControlStores(
            lambda: memory.open_broker(self.url, OpenOptions()),
            lambda: memory.open_coordination(self.url, OpenOptions()),
            lambda: memory.open_results(self.url, OpenOptions()),
        )
        self.table = SharedTable.create(1)
        how = ResultTerms(True, "json", None, None, None, 60.0, False)
        records = Records(how, NODE, UTC, SYSTEM_CLOCK)
        clock = LamportClock()
        revokes = Revokes(NODE, self.table, stores, self._terminate, records, clock.forward)
        self.node = NodeMailbox(
            NODE,
            self._open_bus,
            NodeHands(self._shut_down),
            accept=frozenset({"application/json"}),
            state=self,
            answers=revokes.commands,
            clock=clock,
            stores=stores,
        )
        self.node.rounds.start()
        while self.bus.broadcast(control.request("ping", destination=["nobody"])) == 0:
            pass  # until the node listens

    def _open_bus(self) -> Bus:
        if self.is_cut_off:
            raise BrokerUnavailable("the broker is away")
        return memory.open_bus(self.url, OpenOptions())

    def _terminate(self, ids: Collection[str], signum: int) -> list[str]:
        self.ended.append((set(ids), signum))
        return sorted(self.running & set(ids))

    def _shut_down(self) -> None:
        self.shut_down = True

    def ask(
        self, method: str, arguments: dict[str, Any] | None = None, timeout_s: float = 60.0, **more: Any
    ) -> list[dict[str, Any]]:
        ticket, oid = uuid.uuid4().hex, uuid.uuid4().hex
        replies = self.bus.open_replies(oid)
        try:
            self.bus.broadcast(control.request(method, arguments, ticket=ticket, reply_to=ReplyTo(REPLY_EXCHANGE, oid), **more))
            found = [control.read_reply(message) for message in replies.receive(timeout_s)]
        finally:
            replies.close()
        assert all(reply.ticket == ticket for reply in found)
        return [reply.values for reply in found]

    def close(self) -> None:
        self.node.rounds.stop()
        assert self.node.rounds.join(60)
        self.table.close()
        memory.forget_store(self.url)


@pytest.fixture
def asker() -> Iterator[Asker]:
    asker = Asker()
    yield asker
    asker.close()


def test_given_a_ping_when_it_is_heard_then_the_node_says_pong(asker: Asker) -> None:
    assert asker.ask("ping") == [{NODE: {"ok": "pong"}}]


@pytest.mark.parametrize(
    "aimed", [{"destination": [NODE]}, {"pattern": "w?@*", "matcher": "glob"}, {"pattern": r"w\d@", "matcher": "pcre"}]
)
def test_given_a_command_for_this_node_when_it_is_heard_then_it_answers(asker: Asker, aimed: dict[str, Any]) -> None:
    assert asker.ask("ping", **aimed) == [{NODE: {"ok": "pong"}}]


@pytest.mark.parametrize("aimed", [{"destination": ["w2@test"]}, {"pattern": "x*", "matcher": "glob"}])
def test_given_a_command_for_another_node_when_it_is_heard_then_nobody_answers(asker: Asker, aimed: dict[str, Any]) -> None:
    assert asker.ask("ping", timeout_s=0.2, **aimed) == []
    assert asker.ask("ping") == [{NODE: {"ok": "pong"}}]


def test_given_an_unknown_command_when_it_is_heard_then_the_answer_is_celerys_error(asker: Asker) -> None:
    assert asker.ask("no_such") == [{NODE: {"error": "KeyError('no_such')"}}]


def test_given_a_revoke_when_it_is_heard_then_it_stands_in_the_store_and_the_answer_is_celerys(asker: Asker) -> None:
    assert asker.ask("revoke", {"task_id": "a", "terminate": False, "signal": "SIGTERM"}) == [
        {NODE: {"ok": "tasks {'a'} flagged as revoked"}}
    ]
    asker.ask("revoke", {"task_id": ["b", "c"]})
    assert [order.task_id for order in asker.coordination.revokes()[1]] == ["a", "b", "c"]
    assert asker.ended == []


def test_given_a_terminate_when_the_call_runs_then_it_is_ended_and_named(asker: Asker) -> None:
    asker.running = {"b"}
    assert asker.ask("revoke", {"task_id": ["a", "b"], "terminate": True, "signal": "KILL"}) == [{NODE: {"ok": "terminate: b"}}]
    assert asker.ask("revoke", {"task_id": "a", "terminate": True}) == [{NODE: {"ok": "terminate: tasks unknown"}}]
    assert asker.ended == [({"a", "b"}, 9), ({"a"}, 15)]
    assert asker.coordination.revokes()[1][0] == Revoke("a", True, "SIGTERM")


def test_given_a_signal_that_does_not_exist_when_terminating_then_the_answer_says_so(asker: Asker) -> None:
    (answer,) = asker.ask("revoke", {"task_id": "a", "terminate": True, "signal": "NOPE"})
    assert "there is no signal 'NOPE'" in answer[NODE]["error"]
    assert asker.coordination.revokes()[1] == []


@pytest.mark.parametrize("told", [["x"], {"x": 12.5}])
def test_given_a_hello_when_another_node_starts_then_both_know_what_was_revoked(asker: Asker, told: Any) -> None:
    asker.coordination.revoke([Revoke("a")], keep_s=60)
    (answer,) = asker.ask("hello", {"from_node": "other@test", "revoked": told}, clock=41)
    assert answer[NODE]["revoked"] == ["a"]
    assert answer[NODE]["clock"] >= 42
    assert {order.task_id for order in asker.coordination.revokes()[1]} == {"a", "x"}
    assert asker.ask("hello", {"from_node": NODE, "revoked": []}) == [{NODE: None}]


def test_given_a_remote_shutdown_when_it_is_heard_then_a_warm_stop_begins_without_a_word(asker: Asker) -> None:
    replies = asker.bus.open_replies("both")
    for command in ("shutdown", "ping"):
        asker.bus.broadcast(control.request(command, ticket="t", reply_to=ReplyTo(REPLY_EXCHANGE, "both")))
    (first, *_) = replies.receive(60.0)
    replies.close()
    assert asker.shut_down
    assert control.read_reply(first).values == {NODE: {"ok": "pong"}}  # the order to stop is not answered, as in Celery


def test_given_a_command_that_cannot_be_read_when_it_is_heard_then_the_next_one_is_answered(
    asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    broken = control.request("ping")
    broken.body = b"not json"
    asker.bus.broadcast(broken)
    assert asker.ask("ping") == [{NODE: {"ok": "pong"}}]
    assert "cannot be read" in caplog.text


@pytest.fixture
def own_commands() -> Iterator[None]:
    """Commands of the user's, forgotten after the test."""
    data, meta = dict(Panel.data), dict(Panel.meta)
    yield
    Panel.data.clear()
    Panel.data.update(data)
    Panel.meta.clear()
    Panel.meta.update(meta)


@pytest.mark.usefixtures("own_commands")
def test_given_a_command_of_the_users_when_told_then_it_runs_with_the_nodes_state(asker: Asker) -> None:
    @control_command(args=[("n", int)], signature="[N=1]", alias="more_of_it")
    def increase(state: Any, n: int = 1) -> Any:
        """Take more. And more."""
        return {"ok": [state.url, n]}

    @inspect_command()
    def broken(state: Any) -> Any:
        raise ValueError("not today")

    assert asker.ask("increase", {"n": 3}) == [{NODE: {"ok": [asker.url, 3]}}]
    assert asker.ask("more_of_it") == [{NODE: {"ok": [asker.url, 1]}}]
    assert asker.ask("broken") == [{NODE: {"error": "ValueError('not today')"}}]
    ((_, wrong),) = asker.ask("increase", {"m": 3})[0].items()
    assert "unexpected keyword argument 'm'" in wrong["error"]
    info = Panel.meta["increase"]
    assert (info.type, info.help, info.signature) == ("control", "Take more. And more.", "[N=1]")
    assert info.arguments(["7"]) == {"n": 7}


@pytest.mark.usefixtures("own_commands")
def test_given_what_is_to_come_after_the_orders_when_some_wait_then_it_is_done_after_them(asker: Asker) -> None:
    is_busy, go_on, is_done = threading.Event(), threading.Event(), threading.Event()
    said: list[int] = []

    @control_command()
    def be_busy(state: Any) -> None:
        is_busy.set()
        assert go_on.wait(60)

    @control_command()
    def say(state: Any, n: int) -> None:
        said.append(n)

    def end() -> None:
        said.append(-1)
        is_done.set()

    asker.bus.broadcast(control.request("be_busy"))
    assert is_busy.wait(60)
    for n in range(50):
        asker.bus.broadcast(control.request("say", {"n": n}))
    asker.node.after_orders(end)
    go_on.set()
    assert is_done.wait(60)
    assert said == [*range(50), -1]


def test_given_what_is_to_come_after_the_orders_when_none_can_come_then_it_is_done(asker: Asker) -> None:
    is_done = threading.Event()
    asker.is_cut_off = True
    asker.node.move()
    asker.node.after_orders(is_done.set)
    assert is_done.wait(60)

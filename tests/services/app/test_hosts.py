"""Nodes whose hosts have a store each, beside a broker that keeps messages only: what they are told, they keep themselves."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp

from sedano.app import connect
from sedano.app.lamport import LamportClock
from sedano.app.schemes import MEMORY
from sedano.beat import StoreScheduler
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Capabilities, Coordination, OpenOptions, Source
from sedano.drivers import memory
from sedano.protocol import control
from sedano.worker.control.pauses import PauseCommands
from sedano.worker.control.revokes import Revokes
from sedano.worker.control.stores import ControlStores
from sedano.worker.mailbox import NodeHands, NodeMailbox
from sedano.worker.records import Records
from sedano.worker.table import SharedTable
from sedano.worker.terms import ResultTerms

OPTIONS = OpenOptions()


class Host:
    """A node with a store of its own on the bus of `broker`. `celerys`: one that knows no pauses."""

    def __init__(self, broker: str, node: str, *, celerys: bool = False) -> None:
        self.node, self.url, self.heard = node, f"memory://{uuid.uuid4().hex}", list[dict[str, Any]]()
        stores = ControlStores(lambda: memory.open_broker(broker, OPTIONS), self.open, lambda: None)
        answer = {"name": "mail"} if celerys else {"name": "mail", "paused": False}
        commands = dict(PauseCommands(stores).commands)
        if celerys:
            commands = {"pause_queue": lambda **given: self.heard.append(given)}
        self._mailbox = NodeMailbox(
            node,
            lambda: memory.open_bus(broker, OPTIONS),
            NodeHands(lambda: None),
            accept=frozenset({"application/json"}),
            answers={**commands, "active_queues": lambda: [answer]},
            clock=LamportClock(),
            stores=stores,
        )
        self._mailbox.rounds.start()

    def open(self) -> Coordination:
        return memory.open_coordination(self.url, OPTIONS)

    def paused(self) -> list[tuple[str, str, str]]:
        with closing(self.open()) as coordination:
            return [(pause.queue, pause.reason, pause.by) for pause in coordination.pauses()]

    def close(self) -> None:
        self._mailbox.rounds.stop()
        assert self._mailbox.rounds.join(60)
        memory.forget_store(self.url)


@pytest.fixture
def app(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Of one host, whose broker keeps messages only."""
    monkeypatch.setattr(connect, "MESSAGES_ONLY", (MEMORY,))
    app = make_app()
    app.module_file = str(tmp_path / "tasks.py")
    return app


@pytest.fixture
def hosts(app: Any) -> Iterator[list[Host]]:
    url = app.stores.broker_url
    hosts = [Host(url, "w1@one"), Host(url, "w2@two"), Host(url, "old@three", celerys=True)]
    with closing(memory.open_bus(url, OPTIONS)) as bus:
        while (bus.broadcast(control.request("ping", destination=["nobody"])) or 0) < len(hosts):
            pass  # until all listen
    yield hosts
    for host in hosts:
        host.close()


def test_given_a_store_on_each_host_when_a_queue_is_paused_then_every_node_of_ours_keeps_it(
    app: Any, hosts: list[Host]
) -> None:
    app.control.pause_queue("mail", "down", by="alice")

    pause = [("mail", "down", "alice")]
    with closing(app.stores.open_coordination()) as coordination:
        assert [(one.queue, one.reason, one.by) for one in coordination.pauses()] == pause
    assert [host.paused() for host in hosts] == [pause, pause, []]
    assert hosts[2].heard == []  # a worker of Celery is not asked for what it does not know
    assert app.control.consumers().ours == {"w1@one", "w2@two"}
    assert app.control.consumers().celery == {"old@three"}

    assert app.control.resume_queue("mail")
    assert [host.paused() for host in hosts] == [[], [], []]


@pytest.mark.parametrize("wrong", [{}, {"queue": 3}, {"queue": "q", "reason": "x" * 5000}, {"queue": "q", "since": "now"}])
def test_given_an_order_to_pause_that_is_none_then_the_answer_is_an_error(
    app: Any, hosts: list[Host], wrong: dict[str, Any]
) -> None:
    (answer,) = app.control.broadcast("pause_queue", wrong, reply=True, destination=["w1@one"], timeout=60)

    assert "error" in answer["w1@one"]
    assert hosts[0].paused() == []


def test_given_a_sender_without_a_store_when_it_revokes_then_the_nodes_are_told_all_the_same(
    app: Any, hosts: list[Host], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    del hosts
    (tmp_path / ".sedano").write_text("no folder")
    with closing(app.stores.open_bus()) as bus, closing(bus.open_mailbox("w9@h")) as mailbox:
        app.control.revoke("id-1")
        (message,) = mailbox.receive(60.0)
    assert control.read_request(message).arguments["task_id"] == "id-1"
    assert "is told to the nodes that listen now, and not kept here" in caplog.text


def test_given_deliveries_that_belong_to_connections_when_a_call_is_revoked_then_only_who_comes_upon_it_marks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    theirs = Capabilities(Source.SUPERVISOR, shared_results=False, schedule=True, many_processes=True, wait_fds=True)
    broker = memory.open_broker(url, OPTIONS)
    monkeypatch.setattr(type(broker), "capabilities", property(lambda _: theirs))
    stores = ControlStores(
        lambda: broker, lambda: memory.open_coordination(url, OPTIONS), lambda: memory.open_results(url, OPTIONS)
    )
    table = SharedTable.create(1)
    records = Records(ResultTerms(True, "json", None, None, None, 60.0, False), "w1@h", UTC, SYSTEM_CLOCK)
    Revokes("w1@h", table, stores, lambda _ids, _signum: [], records, LamportClock().forward).revoke(["a"])

    with closing(memory.open_results(url, OPTIONS)) as results, closing(memory.open_coordination(url, OPTIONS)) as kept:
        assert results.fetch(["a"]) == [None]
        assert [order.task_id for order in kept.revokes()[1]] == ["a"]
    table.close()
    memory.forget_store(url)


def test_given_a_store_of_one_host_when_a_beat_opens_it_then_it_says_that_other_hosts_know_nothing_of_it(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = StoreScheduler(app)
    with caplog.at_level(logging.WARNING):
        scheduler.opened()
        scheduler.opened()
    scheduler.close()

    assert caplog.text.count("A beat on another host sends everything once more") == 1
    assert ".sedano, of this host alone (set schedule_store to share it)" in caplog.text

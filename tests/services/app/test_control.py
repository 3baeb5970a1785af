"""`app.control` over the bus of each store: ping and revoke, with a node that answers from the test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from sedano import Celery
from sedano.app.control import signal_name
from sedano.app.lamport import LamportClock
from sedano.contracts import Revoke
from sedano.exceptions import DuplicateNodenameWarning
from sedano.protocol.control import ControlRequest, read_request, reply
from sedano.protocol.events import encode_event, read_events, single

StoreApp = Callable[..., Celery]


@contextmanager
def node(app: Celery, name: str, heard: list[ControlRequest]) -> Generator[None]:
    """A node that answers ping with pong and notes everything that it hears."""
    listening = threading.Event()
    stop, stopped = os.pipe()

    def serve() -> None:
        bus = app.stores.open_bus()
        mailbox = bus.open_mailbox(name)
        listening.set()
        while True:
            messages = mailbox.receive(10.0, (stop,))
            if not messages:
                break
            for message in messages:
                asked = read_request(message)
                if not asked.concerns(name):
                    continue
                heard.append(asked)
                if asked.reply_to is not None:
                    answer = reply(name, {"ok": "pong"}, asked)
                    bus.reply(asked.reply_to.exchange, asked.reply_to.routing_key, answer)
        mailbox.close()
        bus.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert listening.wait(60)
    try:
        yield
    finally:
        os.write(stopped, b".")
        thread.join(60)
        os.close(stop)
        os.close(stopped)


def test_given_nodes_that_listen_then_ping_collects_their_answers(store_app: StoreApp) -> None:
    app = store_app()
    heard: list[ControlRequest] = []
    with node(app, "a@h", heard), node(app, "b@h", heard):
        assert app.control.ping(timeout=60.0, limit=2) in (
            [{"a@h": {"ok": "pong"}}, {"b@h": {"ok": "pong"}}],
            [{"b@h": {"ok": "pong"}}, {"a@h": {"ok": "pong"}}],
        )
        assert app.control.inspect(["b@h"], timeout=60.0).ping() == {"b@h": {"ok": "pong"}}
        assert app.control.ping("a@h", timeout=60.0) == [{"a@h": {"ok": "pong"}}]
    assert app.control.inspect(timeout=0.05).ping() is None


def test_given_revoke_then_the_order_is_kept_in_the_store_and_told_to_those_who_listen(store_app: StoreApp) -> None:
    app = store_app()
    heard: list[ControlRequest] = []
    with node(app, "a@h", heard):
        app.control.revoke("id-1")
        app.AsyncResult("id-2").revoke(terminate=True, signal="KILL", wait=True, timeout=0.2)
        app.control.terminate(["id-3", "id-4"], signal=9)
        app.control.ping("a@h", timeout=60.0)
    assert [(request.method, request.arguments) for request in heard if request.method != "ping"] == [
        ("revoke", {"task_id": "id-1", "terminate": False, "signal": "SIGTERM"}),
        ("revoke", {"task_id": "id-2", "terminate": True, "signal": "SIGKILL"}),
        ("revoke", {"task_id": ["id-3", "id-4"], "terminate": True, "signal": "SIGKILL"}),
    ]
    coordination = app.stores.open_coordination()
    _, orders = coordination.revokes()
    coordination.close()
    assert set(orders) == {
        Revoke("id-1"),
        Revoke("id-2", True, "SIGKILL"),
        Revoke("id-3", True, "SIGKILL"),
        Revoke("id-4", True, "SIGKILL"),
    }


def test_given_a_question_when_all_who_heard_it_have_answered_then_nobody_waits_longer(store_app: StoreApp) -> None:
    app = store_app()
    heard: list[ControlRequest] = []
    with node(app, "a@h", heard), node(app, "b@h", heard):
        replies = app.control.inspect(timeout=600.0).stats()
        assert replies == {"a@h": {"ok": "pong"}, "b@h": {"ok": "pong"}}
        assert app.control.inspect("b@h", timeout=600.0).clock() == {"ok": "pong"}
        assert app.control.inspect(pattern="b@*", matcher="glob", timeout=600.0, limit=1).clock() == {"b@h": {"ok": "pong"}}
    assert [request.method for request in heard].count("stats") == 2


def test_given_two_nodes_of_one_name_then_whoever_asks_is_warned(store_app: StoreApp) -> None:
    app = store_app()
    heard: list[ControlRequest] = []
    with node(app, "a@h", heard), node(app, "a@h", heard), pytest.warns(DuplicateNodenameWarning, match="a@h"):
        app.control.inspect(timeout=600.0).ping()


def test_given_a_destination_that_is_no_node_name_then_the_error_says_so(store_app: StoreApp) -> None:
    with pytest.raises(ValueError, match="list of node names"):
        store_app().control.shutdown(destination=7)


def test_given_purge_then_the_apps_queues_are_emptied(store_app: StoreApp) -> None:
    app = store_app()
    for _ in range(3):
        app.send_task("t")
    assert app.control.purge() == 3
    assert app.control.discard_all() == 0


def test_given_signals_in_every_spelling_then_they_have_one_name() -> None:
    assert {signal_name(given) for given in (None, 15, "term", "SIGTERM", "TERM")} == {"SIGTERM"}
    with pytest.raises(ValueError, match="no signal"):
        signal_name("HELLO")


def test_given_a_logical_clock_then_it_goes_forward_and_beyond_what_it_hears() -> None:
    clock = LamportClock()
    assert (clock.forward(), clock.adjust(10), clock.adjust(3)) == (1, 11, 12)


def test_given_a_clock_that_others_would_not_believe_when_heard_then_it_is_not_followed() -> None:
    clock = LamportClock()
    clock.adjust(2**62)
    event = single(encode_event("worker-online", {}, hostname="a@b", pid=1, timestamp=5.5), clock.forward(), "", hostname="a@b")
    assert read_events(event)[0]["clock"] == 2

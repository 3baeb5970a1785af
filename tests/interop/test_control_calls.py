"""What `app.control` and `inspect()` send is what Celery's send for the same call (recordings/control-redis.json)."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest

from sedano import Celery
from sedano.protocol import control, envelope

RECORDING = pathlib.Path(__file__).parent / "recordings" / "control-redis.json"
ID = "7a7a73f0-c602-4438-aec4-11c7250383bc"
IDS = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"]
THIRD = ["33333333-3333-3333-3333-333333333333"]

# The recording's ids, and the same call of ours. `c` is app.control, `i` its inspect(), `to` says who shall answer.
CALLS: dict[str, Callable[..., Any]] = {
    "ping": lambda c, i, to: i.ping(),
    "ping_broadcast": lambda c, i, to: c.ping(timeout=0.0),
    "ping_pattern": lambda c, i, to: c.broadcast("ping", pattern="w*", matcher="glob", reply=True, timeout=0.0),
    "active": lambda c, i, to: i.active(),
    "active_safe": lambda c, i, to: i.active(safe=True),
    "reserved": lambda c, i, to: i.reserved(),
    "scheduled": lambda c, i, to: i.scheduled(),
    "query_task": lambda c, i, to: i.query_task([ID]),
    "revoke": lambda c, i, to: c.revoke(ID, **to),
    "revoke_noreply": lambda c, i, to: c.revoke(IDS),
    "revoked": lambda c, i, to: i.revoked(),
    "revoke_by_stamped_headers": lambda c, i, to: c.revoke_by_stamped_headers({"mtask_id": "m-1"}, **to),
    "terminate": lambda c, i, to: c.terminate(ID, **to),
    "registered": lambda c, i, to: i.registered(),
    "registered_info": lambda c, i, to: i.registered("rate_limit"),
    "stats": lambda c, i, to: i.stats(),
    "conf": lambda c, i, to: i.conf(),
    "report": lambda c, i, to: i.report(),
    "active_queues": lambda c, i, to: i.active_queues(),
    "clock": lambda c, i, to: i.clock(),
    "hello": lambda c, i, to: i.hello("x@y", THIRD),
    "memsample": lambda c, i, to: i.memsample(),
    "rate_limit": lambda c, i, to: c.rate_limit("proj.add", "10/m", **to),
    "rate_limit_unknown": lambda c, i, to: c.rate_limit("nope", "10/m", **to),
    "time_limit": lambda c, i, to: c.time_limit("proj.add", soft=10, hard=20, **to),
    "pool_grow": lambda c, i, to: c.pool_grow(1, **to),
    "pool_shrink": lambda c, i, to: c.pool_shrink(1, **to),
    "autoscale": lambda c, i, to: c.autoscale(max=5, min=2, **to),
    "autoscale_off": lambda c, i, to: c.autoscale(max=5, min=2, **to),
    "pool_restart_disabled": lambda c, i, to: c.pool_restart(**to),
    "add_consumer": lambda c, i, to: c.add_consumer("newq", **to),
    "cancel_consumer": lambda c, i, to: c.cancel_consumer("newq", **to),
    "enable_events": lambda c, i, to: c.enable_events(**to),
    "disable_events": lambda c, i, to: c.disable_events(**to),
    "heartbeat": lambda c, i, to: c.heartbeat(**to),
    "election": lambda c, i, to: c.election("el-1", "task", action=c.app.signature("proj.add", (1, 1))),
    "unknown_command": lambda c, i, to: c.broadcast("no_such", **to),
    "shutdown": lambda c, i, to: c.shutdown(**to),
}


def requests() -> dict[str, control.ControlRequest]:
    vectors = json.loads(RECORDING.read_text(encoding="utf-8"))["vectors"]
    found = {}
    for vector in vectors:
        first = vector["messages"][0]
        if first["kind"] == "request" and vector["id"] not in ("enable_events_again", "bad_arguments"):
            found[vector["id"]] = control.read_request(envelope.decode(first["raw"].encode()))
    return found


REQUESTS = requests()


@pytest.fixture(scope="module")
def app() -> Generator[Any]:
    app = Celery("calls", broker="memory://calls", set_as_current=False)
    yield app
    app.close()


def test_every_recorded_request_is_compared() -> None:
    assert set(CALLS) == set(REQUESTS)


@pytest.mark.parametrize("name", CALLS)
def test_given_a_call_of_control_then_the_message_is_celerys(app: Any, name: str) -> None:
    theirs = REQUESTS[name]
    nodes = list(theirs.destination or ())
    to = {"destination": nodes, "reply": True, "timeout": 0.0}
    with closing(app.stores.open_bus()) as bus, closing(bus.open_mailbox("listener@here")) as mailbox:
        CALLS[name](app.control, app.control.inspect(nodes, timeout=0.0), to)
        (message,) = mailbox.receive(10.0)

    ours = control.read_request(message)
    assert (ours.method, ours.destination, ours.pattern, ours.matcher) == (
        theirs.method,
        theirs.destination,
        theirs.pattern,
        theirs.matcher,
    )
    assert json.dumps(ours.arguments) == json.dumps(theirs.arguments)
    assert (ours.reply_to is None) == (theirs.reply_to is None)
    assert (ours.ticket is None) == (theirs.ticket is None)

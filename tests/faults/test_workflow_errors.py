"""A call of a workflow ends badly, in each way and in each position: what every part of the workflow ends in. Nobody waits for
what cannot come.

Of a way and a position all calls are asked: a call that has no end in the time that there is fails the test.
"""

from __future__ import annotations

import os
import runpy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.servers import RedisServer

from sedano import Sedano, chain, chord, current, group, states
from sedano.drivers import memory
from sedano.testing.node import Node
from sedano.testing.worker import start_worker

PROJECT = Path(__file__).parent / "project"
PATIENCE_S = 120.0
LONG = os.environ.get("SEDANO_LONG") == "1"

OK = (states.SUCCESS, None)
FAILED = (states.FAILURE, "ChordError")


class Ending(NamedTuple):
    """How the bad call itself ends: the state of its record, and the exception that it holds."""

    state: str
    error: str


# The table of docs/how-to/workflows.md, "When a call fails".
ENDINGS = {
    "raises": Ending(states.FAILURE, "LookupError"),
    "unknown": Ending(states.FAILURE, "NotRegistered"),
    "soft": Ending(states.FAILURE, "SoftTimeLimitExceeded"),
    "hard": Ending(states.FAILURE, "TimeLimitExceeded"),
    "killed": Ending(states.FAILURE, "WorkerLostError"),
    "killed_late": Ending(states.FAILURE, "WorkerLostError"),
    "unwritable": Ending(states.FAILURE, "EncodeError"),
    "expired": Ending(states.REVOKED, "TaskRevokedError"),
    "revoked": Ending(states.REVOKED, "TaskRevokedError"),
}


class Sent(NamedTuple):
    """A workflow that was sent: its result, and what each of its results is to be, "bad" and "after" (what fails along with the
    bad call) among them. `raised` is what `get()` raises, "bad" for what the bad call has."""

    result: Any
    expected: list[tuple[Any, Any]]
    raised: str | None = "bad"


Make = Callable[[], Any]


def chain_of(position: int) -> Callable[[Make, Make], Sent]:
    def send(bad: Make, good: Make) -> Sent:
        steps = [good() for _ in range(3)]
        steps[position] = bad()
        last = chain(*steps)()
        return Sent(last, list(zip([last.parent.parent, last.parent, last], [OK] * position + ["bad"] + ["after"] * 2)))  # noqa: B905

    return send


def header_with(*positions: int) -> Callable[[Make, Make], Sent]:
    def send(bad: Make, good: Make) -> Sent:
        result = chord([bad() if index in positions else good() for index in range(3)], good())()
        parts = [(part, "bad" if index in positions else OK) for index, part in enumerate(result.parent)]
        return Sent(result, [*parts, (result, FAILED)])

    return send


def in_group(bad: Make, good: Make) -> Sent:
    result = group(good(), bad(), good())()
    return Sent(result, list(zip(result, [OK, "bad", OK], strict=True)))


def in_body(bad: Make, good: Make) -> Sent:
    result = chain(chord([good(), good()], bad()), good())()
    parts = [(part, OK) for part in result.parent.parent]
    return Sent(result, [*parts, (result.parent, "bad"), (result, "after")])


def in_chain_of_header(bad: Make, good: Make) -> Sent:
    result = chord([good(), chain(good(), bad(), good())], good())()
    last = result.parent[1]
    return Sent(result, [(result.parent[0], OK), (last.parent, "bad"), (last, "after"), (result, FAILED)])


def nested(bad: Make, good: Make) -> Sent:
    result = chord([chord([bad(), good()], good()), good()], good())()
    inner, beside = result.parent
    return Sent(result, [(inner.parent[0], "bad"), (inner, FAILED), (beside, OK), (result, FAILED)], None)


def in_errback(bad: Make, good: Make) -> Sent:
    failing = good().app.signature("positions.raises", immutable=True)
    failing.link_error(bad())
    result = failing.apply_async()
    return Sent(result, [(result, ENDINGS["raises"])], "LookupError")


def in_errback_of_chord(bad: Make, good: Make) -> Sent:
    header = [good().app.signature("positions.raises", immutable=True), good()]
    body = good()
    body.link_error(bad())
    result = chord(header, body)()
    return Sent(result, [(result.parent[0], ENDINGS["raises"]), (result.parent[1], OK), (result, FAILED)], "LookupError")


POSITIONS: dict[str, Callable[[Make, Make], Sent]] = {
    "chain, first": chain_of(0),
    "chain, middle": chain_of(1),
    "chain, last": chain_of(2),
    "group": in_group,
    "header, first": header_with(0),
    "header, middle": header_with(1),
    "header, last": header_with(2),
    "header, several": header_with(0, 2),
    "header, all": header_with(0, 1, 2),
    "body": in_body,
    "chain in a header": in_chain_of_header,
    "chord in a header": nested,
    "errback": in_errback,
    "errback of a chord": in_errback_of_chord,
}
# Each way in the positions that differ most, and each position with the plainest way; the whole product with SEDANO_LONG=1.
TELLING = ("chain, middle", "header, several", "body")


# What needs no process of its own: the memory store has none.
HARMLESS = ("raises", "unknown", "unwritable", "expired", "revoked")


class World(NamedTuple):
    app: Any
    ways: tuple[str, ...]


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    if request.param == "memory":
        before = current.get_app()
        for variable in ("FAULT_BROKER", "FAULT_RESULTS"):
            monkeypatch.setenv(variable, "memory://positions")
        embedded = runpy.run_path(str(PROJECT / "positions.py"), run_name="positions")["app"]
        with start_worker(embedded):
            yield World(embedded, HARMLESS)
        embedded.close()
        memory.forget_store("memory://positions")
        current.set_app(before)
        return
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        url = server.url
    made = Sedano("positions", broker=url, backend=url, set_as_current=False)
    environment = {"FAULT_BROKER": url, "FAULT_RESULTS": url}
    with Node("positions", cwd=PROJECT, concurrency=3, environment=environment) as node:
        node.wait_ready()
        yield World(made, tuple(ENDINGS))
        made.close()


def test_given_a_call_that_ends_badly_when_its_workflow_is_asked_then_every_part_has_its_end(world: World) -> None:
    app = world.app

    def good() -> Any:
        return app.signature("positions.good")

    def bad(way: str) -> Any:
        signature = app.signature(f"positions.{way}")
        if way == "expired":
            signature.set(expires=-1)
        if way == "revoked":
            app.control.revoke(signature.freeze().id)
        return signature

    sent = {
        (way, position): send(lambda way=way: bad(way), good)
        for way in world.ways
        for position, send in POSITIONS.items()
        if LONG or way == "raises" or position in TELLING
    }
    wrong: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    for (way, position), flow in sent.items():
        ending = ENDINGS[way]
        known = {"bad": ending, "after": ending}
        for number, (result, expected) in enumerate(flow.expected):
            try:
                value = result.get(max(0.01, deadline - time.monotonic()), propagate=False, follow_parents=False)
            except Exception as exc:
                value = exc
            found = (result.state, type(value).__name__ if isinstance(value, BaseException) else None)
            if found != tuple(known.get(expected, expected)):
                wrong.append(f"{way}, {position}, {number}: {found} instead of {known.get(expected, expected)}")
        if flow.raised:
            error = ending.error if flow.raised == "bad" else flow.raised
            with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is compared
                flow.result.get(timeout=max(0.01, deadline - time.monotonic()))
            if type(raised.value).__name__ != error:
                wrong.append(f"{way}, {position}: get() raises {raised.value!r} instead of {error}")
    assert wrong == []

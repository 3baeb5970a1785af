"""Workflows that real Celery 5.7 sent (recordings/messages-redis.json): we send the same messages, and run its own."""

from __future__ import annotations

import json
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.apps import MakeApp, make_app, sent
from tests.servers import RedisServer, redis_server

from sedano import Celery, chain, chord, group
from sedano.protocol import call, envelope
from sedano.protocol.message import Message
from sedano.testing.worker import start_worker

__all__ = ["make_app", "redis_server"]

PATIENCE_S = 60.0
RECORDINGS = pathlib.Path(__file__).parent / "recordings" / "messages-redis.json"
VECTORS = {vector["id"]: vector for vector in json.loads(RECORDINGS.read_text(encoding="utf-8"))["vectors"]}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SENT: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "link": lambda add, mul, tsum, onerr: add.apply_async((2, 2), link=mul.s(10)),
    "link_immutable": lambda add, mul, tsum, onerr: add.apply_async((2, 2), link=mul.si(10, 10)),
    "link_error": lambda add, mul, tsum, onerr: add.apply_async((2, 2), link_error=onerr.s()),
    "chain3": lambda add, mul, tsum, onerr: chain(add.s(1, 2), mul.s(3), add.s(10)).apply_async(),
    "group2": lambda add, mul, tsum, onerr: group(add.s(1, 1), add.s(2, 2)).apply_async(),
    "chord": lambda add, mul, tsum, onerr: chord([add.s(1, 1), add.s(2, 2)])(tsum.s()),
    "chord_errback": lambda add, mul, tsum, onerr: chord([add.s(1, 1), add.s(2, 2)])(tsum.s().on_error(onerr.s())),
    "chain_into_group": lambda add, mul, tsum, onerr: (add.s(1, 1) | group(mul.s(2), mul.s(3))).apply_async(),
    "chain_group_then_task": lambda add, mul, tsum, onerr: (add.s(1, 1) | group(mul.s(2), mul.s(3)) | tsum.s()).apply_async(),
    "chunks": lambda add, mul, tsum, onerr: add.chunks([(i, i) for i in range(4)], 2).apply_async(),
    "map": lambda add, mul, tsum, onerr: tsum.map([[1, 2], [3]]).apply_async(),
    "starmap": lambda add, mul, tsum, onerr: add.starmap([(1, 2), (3, 4)]).apply_async(),
    "stamps": lambda add, mul, tsum, onerr: _stamped(add.si(2, 3)).apply_async(),
}
FINAL = {
    "link": {4, 40},
    "link_immutable": {4, 100},
    "chain3": {3, 9, 19},
    "group2": {2, 4},
    "chord": {2, 4, 6},
    "chord_errback": {2, 4, 6},
    "chain_into_group": {2, 4, 6},
    "chain_group_then_task": {2, 4, 6, 10},
    "chunks": {0, 2, 4, 6},
    "map": {3},
    "starmap": {3, 7},
    "stamps": {5},
}
"""What all calls of the workflow return."""


def _stamped(signature: Any) -> Any:
    signature.stamp(mtask_id="m-1")
    return signature


def _without_place(value: dict[str, Any]) -> dict[str, Any]:
    if "options" in value:
        unsaid = ("root_id", "parent_id")
        return {**value, "options": {name: given for name, given in value["options"].items() if name not in unsaid}}
    return value


def declare(app: Celery, returned: set[Any]) -> list[Any]:
    def noted(value: Any) -> Any:
        returned.add(value)
        return value

    @app.task(name="proj.add")
    def add(x: Any, y: Any) -> Any:
        return noted(x + y)

    @app.task(name="proj.mul")
    def mul(x: Any, y: Any) -> Any:
        return noted(x * y)

    @app.task(name="proj.tsum")
    def tsum(values: Any) -> Any:
        return noted(sum(values))

    @app.task(name="proj.onerr")
    def onerr(request: Any, exc: Any, traceback: Any) -> None: ...

    return [add, mul, tsum, onerr]


def comparable(messages: list[Message]) -> Any:
    """The messages of a workflow, each id as the number of its first appearance.

    What the options of a signature inside a message say of its group and its parents is left out: who sends it in the end
    says it again, in its headers. The header that names the workflow is our own.
    """
    parts: list[Any] = []
    for message in messages:
        unsaid = ("origin", "argsrepr", "kwargsrepr", call.WORKFLOW_HEADER)
        headers = {name: value for name, value in message.headers.items() if name not in unsaid}
        properties = {name: message.properties[name] for name in ("correlation_id", "priority")}
        body = json.loads(message.body, object_hook=_without_place)
        parts.append([headers, properties, body])
    text = json.dumps(parts, sort_keys=True)
    text = re.sub(r'"reply_to": "[^"]*"', '"reply_to": ""', text)
    numbers: dict[str, str] = {}
    return json.loads(UUID.sub(lambda found: numbers.setdefault(found.group(), f"id {len(numbers)}"), text))


@pytest.mark.parametrize("name", SENT)
def test_given_a_workflow_when_we_send_it_then_it_is_what_celery_sends(name: str, make_app: MakeApp) -> None:
    app = make_app(main="proj")
    SENT[name](*declare(app, set()))
    ours = [delivery.message for delivery in sent(app)]
    theirs = [envelope.decode(message["raw"].encode()) for message in VECTORS[name]["messages"]]
    assert all(message is not None for message in ours)
    assert comparable([message for message in ours if message is not None]) == comparable(theirs)


@pytest.mark.redis
@pytest.mark.parametrize("name", FINAL)
def test_given_what_celery_sent_when_our_worker_runs_it_then_every_call_of_the_workflow_runs(
    name: str, make_app: MakeApp, redis_server: RedisServer
) -> None:
    redis_server.command("FLUSHALL")
    app = make_app(main="proj", broker=redis_server.url, backend=redis_server.url)
    returned: set[Any] = set()
    declare(app, returned)
    last = ""
    for message in VECTORS[name]["messages"]:
        decoded = envelope.decode(message["raw"].encode())
        embed = call.read_body(decoded).embed
        if embed.chord is not None:  # what the producer counts in the result store
            group_id = decoded.headers["group"]
            redis_server.command("SET", f"celery-taskset-meta-{group_id}.s", str(len(VECTORS[name]["messages"])))
            last = embed.chord["options"]["task_id"]
        redis_server.command("LPUSH", "celery", message["raw"])
        last = last or decoded.headers["id"]
    with start_worker(app):
        app.AsyncResult(last).get(timeout=PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while returned != FINAL[name] and time.monotonic() < deadline:  # what comes after the call that was waited for
            time.sleep(0.01)
    assert returned == FINAL[name]

"""Ten thousand control messages within seconds, most of them nonsense, while tasks run."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.protocol import control
from sedano.protocol.control import ReplyTo
from sedano.protocol.message import Message

COUNT, LARGE = 10_000, 40
GROWTH_KIB = 150_000


def storm(k: int) -> Message:
    kinds: list[Any] = [
        lambda: control.request("ping"),
        lambda: control.request("ping", ticket="t", reply_to=ReplyTo("reply.celery.pidbox", f"nobody-{k}")),
        lambda: control.request("revoke", {"task_id": f"none-{k}"}),
        lambda: control.request(f"no_such_{k}\nline", ticket="t", reply_to=ReplyTo("", "")),
        lambda: control.request("rate_limit", {"task_name": k, "rate_limit": [k]}),
        lambda: control.request("pool_grow", {"n": "x" * 100}, ticket="t", reply_to=ReplyTo("\0", "\n")),
        lambda: Message(b"\xff\xfenot json", "application/json", "utf-8", {}, {}),
        lambda: Message(b'{"w1@test": {"ok": "pong"}}', "application/json", "utf-8", {"ticket": "forged", "clock": 2**70}, {}),
        lambda: Message(b"[1, 2, 3]", "application/x-python-serialize", "binary", {}, {}),
        lambda: control.request("hello", {"from_node": 5, "revoked": "x"}),
    ]
    if k % (COUNT // LARGE) == 0:
        return control.request("no_such" if k % 500 else "rate_limit", {"task_name": "x" * 1_000_000})
    message: Message = kinds[k % len(kinds)]()
    return message


def resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4


def rate(world: NodeWorld, seconds: float) -> float:
    """Calls a second, one after another, for so long."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        world.get("pid")
        count += 1
    return count / (time.monotonic() - began)


def test_given_a_storm_of_commands_when_tasks_run_then_they_go_on_and_the_node_answers_afterwards(
    world: NodeWorld, store: str
) -> None:
    node = world.ready(concurrency=1)
    world.get("pid")
    before = resident_kib(node.process.pid)
    with closing(world.app.stores.open_bus()) as bus:
        sent = [storm(k) for k in range(COUNT)]
        began = time.monotonic()
        results = []
        for k, message in enumerate(sent):
            bus.broadcast(message)
            if k % 100 == 0:
                results.append(world.send("pid"))
        took = time.monotonic() - began
    for result in results:
        result.get(timeout=PATIENCE_S)
    # A server drops a listener that it cannot feed in time, and the listener comes back: ask more than once.
    answer = world.until(lambda: world.app.control.ping(timeout=2.0, limit=1))
    assert answer == [{"w1@test": {"ok": "pong"}}]
    assert resident_kib(node.process.pid) - before < GROWTH_KIB
    assert took < 60.0
    assert rate(world, 1.0) > 5.0
    assert node.process.poll() is None
    assert "an error that nobody expected" not in node.log()

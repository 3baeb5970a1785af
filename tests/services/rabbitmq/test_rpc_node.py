"""A real node that answers over rpc://: each outcome reaches whoever made the call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rabbit import RabbitServer, vhost_of

from sedano import Celery
from sedano.canvas import chain, group
from sedano.testing.node import Node

pytestmark = pytest.mark.rabbitmq

WAIT_S = 60.0

TASKS = """
from sedano import Celery, chord
from sedano.result import allow_join_result

app = Celery("tasks", broker={url!r}, backend="rpc://")
app.conf.update(schedule_store={schedule!r}, task_track_started=True)

@app.task
def add(x, y): return x + y

@app.task
def total(numbers): return sum(numbers)

@app.task
def fail(): raise ValueError("boom", 42)

@app.task(bind=True, acks_late=True)
def work(self):
    self.update_state(state="PROGRESS", meta={{"n": 1}})
    return "done"

@app.task
def sends(): add.delay(1, 1)

@app.task
def asks():
    with allow_join_result():
        return add.delay(1, 1).get(timeout=60)

@app.task(bind=True)
def swaps(self): raise self.replace(chord([add.s(1, 1)], total.s()))
"""


@pytest.fixture
def app(rabbit_url: str, tmp_path: Path) -> Iterator[Celery]:
    """Its tasks run on a node that runs."""
    schedule = f"sqlite:///{tmp_path}/schedule.db"
    (tmp_path / "tasks.py").write_text(TASKS.format(url=rabbit_url, schedule=schedule))
    app = Celery("tasks", broker=rabbit_url, backend="rpc://", set_as_current=False)
    app.conf.schedule_store = schedule
    with Node("tasks", cwd=tmp_path) as node:
        node.wait_ready()
        yield app
    app.close()


def test_given_a_node_when_calls_end_in_any_way_then_whoever_made_them_is_told(
    app: Celery, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    def call(name: str, *args: Any) -> Any:
        return app.signature(f"tasks.{name}", args)

    assert app.send_task("tasks.add", (2, 3)).get(timeout=WAIT_S) == 5
    with pytest.raises(ValueError, match=r"\('boom', 42\)"):
        app.send_task("tasks.fail").get(timeout=WAIT_S)
    heard: list[str] = []
    assert app.send_task("tasks.work").get(timeout=WAIT_S, on_message=lambda meta: heard.append(meta["status"])) == "done"
    assert heard == ["STARTED", "PROGRESS", "SUCCESS"]
    assert group(call("add", number, number) for number in range(20)).apply_async().get(timeout=WAIT_S)[-1] == 38
    steps = chain(call("add", 1, 1), call("add", 1), call("add", 1)).apply_async()
    assert steps.get(timeout=WAIT_S) == 4
    assert steps.parent.get(timeout=WAIT_S) == 3
    broken = chain(call("add", 1, 1), app.signature("tasks.fail", immutable=True), call("add", 1)).apply_async()
    with pytest.raises(ValueError, match="boom"):
        broken.get(timeout=WAIT_S)
    with pytest.raises(NotImplementedError, match="does not support chords"):
        app.send_task("tasks.swaps").get(timeout=WAIT_S)
    assert app.send_task("tasks.sends").get(timeout=WAIT_S) is None
    names = {each["name"] for each in rabbit_server.api("GET", f"queues/{vhost_of(rabbit_url)}")}
    replies = {name for name in names if len(name) == len(app.thread_oid)}
    assert replies == {app.thread_oid}, "a task's own calls answer to nobody, unless it says that it waits"
    assert app.send_task("tasks.asks").get(timeout=WAIT_S) == 2

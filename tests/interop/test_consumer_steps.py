"""A `ConsumerStep` in a Sedano node takes messages that are no calls, through a real Kombu."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop import environments
from tests.servers import RedisServer, is_left_out

from sedano.testing.node import Node

pytestmark = pytest.mark.celery
PAGE = environments.ROOT / "docs" / "how-to" / "extend-the-worker.md"
PROJECT = """
import os
from celery import Celery, bootsteps
from kombu import Consumer, Exchange, Queue

app = Celery("proj", broker=os.environ["STORE"], backend=os.environ["STORE"])
queue = Queue("foreign", Exchange("foreign"), "foreign")

class Foreign(bootsteps.ConsumerStep):
    def get_consumers(self, channel):
        return [Consumer(channel, queues=[queue], callbacks=[self.take], accept=["json"])]

    def take(self, body, message):
        print("took", body, flush=True)
        if body == "bad":
            message.ack()
            raise ValueError("indigestible")
        message.ack()

app.steps["consumer"].add(Foreign)

@app.task
def add(x, y):
    return x + y
"""
SEND = """
import sys
from kombu import Connection
from proj import queue, os
from foreign import orders
with Connection(os.environ["STORE"]) as connection:
    producer = connection.Producer(serializer="json")
    for body in sys.argv[1:]:
        producer.publish(body, exchange=queue.exchange, routing_key="foreign", declare=[queue])
    producer.publish("an oven", exchange=orders.exchange, routing_key="orders", declare=[orders])
"""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as started:
        yield started


def test_messages_that_are_no_calls_are_consumed_over_errors_and_restarts_of_the_store(
    server: RedisServer, tmp_path: Path
) -> None:
    python = environments.python_of(environments.celery_and_sedano())
    (tmp_path / "proj.py").write_text(PROJECT)
    (code,) = re.findall(r"^```python\n# foreign.py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "foreign.py").write_text(code)
    path = os.pathsep.join([str(environments.ROOT / "src"), str(tmp_path)])
    variables = environments.clean_environment({"STORE": server.url, "PYTHONPATH": path})

    def send(*bodies: str) -> None:
        alias = {**variables, "SEDANO_AS_CELERY": "1"}
        done = subprocess.run([python, "-c", SEND, *bodies], env=alias, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    command = [str(python), "-m", "sedano"]
    with Node("foreign", cwd=tmp_path, concurrency=1, environment=variables, command=command) as node:
        node.wait_ready()
        send("one", "bad", "two")
        node.wait_for_line("took one")
        node.wait_for_line(r"consumers \(.*Foreign\) on .*indigestible.*started again")
        node.wait_for_line("took two")
        node.wait_for_line("an order: an oven")  # the page's own
        server.restart()
        send("three")
        node.wait_for_line("took three")
        assert node.stop() == 0
    assert "cannot be started" not in node.log()

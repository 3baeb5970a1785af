"""Exchanges and queues that users make themselves (the second seed), bound and unbound, on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.rabbit import RabbitServer

from sedano import Celery
from sedano.exceptions import OperationalError
from sedano.protocol.queues import Exchange, NotBoundError, Queue, binding

pytestmark = pytest.mark.rabbitmq

SEED = """
from celery import Celery
from kombu import Connection, Exchange, Queue

app = Celery("proj", broker={url!r})

# 定义交换机
new_exchange = Exchange(
    name = 'new_exchange',
    type = 'direct',
)
# 声明交换机
new_exchange.declare()

# 定义队列
new_queue = Queue(
    name = 'new_queue',
    exchange=new_exchange,
    routing_key= 'rounting key'
)
# 声明交换机
new_queue.declare()

app.send_task("t", exchange="new_exchange", routing_key="rounting key")
with Connection({url!r}) as connection:
    print(new_queue(connection).queue_declare(passive=True).message_count)
"""


@pytest.fixture
def app(rabbit_url: str) -> Any:
    app = Celery("declaring", broker=rabbit_url, set_as_current=False)
    yield app
    app.close()


def names(channel: Any, *queues: str) -> list[bool]:
    """Whether each of these queues is there."""
    found = []
    for queue in queues:
        try:
            channel.queue_declare(queue, passive=True)
        except OperationalError:
            found.append(False)
        else:
            found.append(True)
    return found


def test_given_a_connection_when_exchanges_and_queues_are_bound_to_it_then_they_can_be_declared_and_deleted(app: Any) -> None:
    with app.connection() as connection:
        exchange = Exchange("own", "topic")(connection)
        exchange.declare()
        exchange.declare(passive=True)
        queue = Queue("own", exchange, "a.#", max_priority=5, expires=60)(connection.channel())
        assert queue.declare() == "own"
        app.send_task("t", exchange="own", exchange_type="topic", routing_key="a.b")
        assert queue.queue_declare(passive=True) == ("own", 1, 0)
        assert queue.purge() == 1
        several = Queue("several", [binding(exchange, "b"), binding(Exchange("other", "fanout"))])
        several.bind(connection.default_channel).declare()
        Exchange("above", "topic").bind(connection).declare()
        exchange.bind_to("above", "a.*")
        app.send_task("t", exchange="above", exchange_type="topic", routing_key="a.c")
        assert queue.queue_declare(passive=True).message_count == 1
        named = Queue("", exclusive=True)(connection)
        named.declare()
        assert named.name.startswith("amq.gen-")
        queue.queue_unbind()
        queue.delete()
        several(connection).delete()
        exchange.delete()

        assert names(connection.default_channel, "own", "several") == [False, False]
        with pytest.raises(OperationalError, match="own"):
            exchange.declare(passive=True)


def test_given_a_queue_that_is_there_otherwise_when_it_is_declared_then_the_server_says_so(app: Any) -> None:
    with app.connection_for_write() as connection:
        Queue("q")(connection).declare()
        with pytest.raises(OperationalError, match="x-max-priority"):
            Queue("q", max_priority=3)(connection).declare()
        assert Queue("q")(connection).declare() == "q"  # the channel that the server has closed is opened again


def test_given_entities_that_nobody_has_bound_when_they_are_declared_then_they_say_so_as_kombus(app: Any) -> None:
    del app
    for unbound in (Exchange("x"), Queue("x", Exchange("x"))):
        with pytest.raises(NotBoundError, match="not bound to a channel"):
            unbound.declare()


def test_given_the_seeds_program_when_it_runs_under_the_alias_then_its_exchange_and_queue_are_made(
    rabbit_server: RabbitServer, rabbit_url: str, tmp_path: Path
) -> None:
    del rabbit_server
    (tmp_path / "program.py").write_text(SEED.format(url=rabbit_url), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "sedano.as_celery", "program.py"], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )

    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr

"""Several RabbitMQ servers that stand in for each other: who finds which, and where results are heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rabbit import RabbitServer, free_port

from sedano import Celery
from sedano.contracts import AmqpOptions, OpenOptions, ResultWrite
from sedano.drivers.rabbitmq import open_results
from sedano.protocol.results import encode_meta, success

pytestmark = pytest.mark.rabbitmq

WAIT_S = 60.0
NOW = "2026-11-22T06:00:00+00:00"


def answer(url: str, app: Celery, *results: Any) -> None:
    """What a worker on the server `url` says of these calls."""
    worker = open_results(url, OpenOptions(amqp=AmqpOptions()))
    metas = [success(result.id, 5, date_done=NOW) for result in results]
    worker.store([ResultWrite(meta["task_id"], encode_meta(meta), 60.0, True, app.thread_oid) for meta in metas])
    worker.close()


@pytest.fixture
def app_on(tmp_path: Path) -> Iterator[Callable[..., Celery]]:
    made: list[Celery] = []

    def make(*urls: str) -> Celery:
        app = Celery("several", broker=";".join(urls), backend="rpc://", set_as_current=False)
        app.conf.update(schedule_store=f"sqlite:///{tmp_path}/schedule.db", broker_connection_timeout=2)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def nowhere() -> str:
    return f"amqp://guest:guest@127.0.0.1:{free_port()}//"


def test_given_a_first_server_that_is_away_when_asked_for_one_that_answers_then_it_is_the_second(
    app_on: Callable[..., Celery], rabbit_url: str
) -> None:
    app = app_on(nowhere(), rabbit_url)

    assert app.stores.reachable().broker_url == rabbit_url
    assert app.control.ping(timeout=0.1) == []


def test_given_a_first_server_that_is_away_when_called_then_the_result_is_heard_from_the_second(
    app_on: Callable[..., Celery], rabbit_url: str
) -> None:
    app = app_on(nowhere(), rabbit_url)

    result = app.send_task("add", (2, 3))
    answer(rabbit_url, app, result)

    assert result.get(timeout=WAIT_S) == 5


def test_given_a_caller_who_waits_when_the_server_dies_then_later_calls_and_their_results_go_over_the_second(
    app_on: Callable[..., Celery], own_rabbit: RabbitServer, rabbit_url: str
) -> None:
    first = own_rabbit.new_vhost()
    app = app_on(first, rabbit_url)
    before = app.send_task("add", (2, 3))
    answer(first, app, before)
    assert before.get(timeout=WAIT_S) == 5
    heard: list[Any] = []
    lost = app.send_task("add", (2, 3))
    waiting = threading.Thread(target=lambda: heard.append(lost.get(timeout=WAIT_S)))
    waiting.start()

    own_rabbit.kill()
    after = app.send_task("add", (2, 3))
    answer(rabbit_url, app, after, lost)  # a worker may have had it in hand when it went on with the second server

    assert after.get(timeout=WAIT_S) == 5
    waiting.join(WAIT_S)
    assert heard == [5]

    own_rabbit.start()
    again = app.send_task("add", (2, 3))
    answer(rabbit_url, app, again)
    assert again.get(timeout=WAIT_S) == 5

"""A beat beside RabbitMQ, which keeps no schedules: ticks go to the server first, and are written elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.rabbit import RabbitServer, free_port

from sedano import Celery
from sedano.beat.storescheduler import StoreScheduler
from sedano.protocol.queues import Exchange
from sedano.testing import FakeClock

pytestmark = pytest.mark.rabbitmq

EACH = {"task": "each", "schedule": 10.0}


class Beat:
    def __init__(self, url: str, folder: Path, **entries: Any) -> None:
        self.clock = FakeClock()
        self.app = Celery("ticks", broker=url, set_as_current=False)
        self.app.conf.update(
            schedule_store=f"sqlite:///{folder}/schedule.db",
            beat_schedule=entries,
            task_publish_retry_policy={"max_retries": 0},
        )
        self.scheduler = StoreScheduler(self.app, clock=self.clock)
        for _ in range(3):
            self.scheduler.tick()

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for _ in range(3):
            self.scheduler.tick()

    def sent(self) -> int:
        with closing(self.app.stores.open_server()) as server:
            return int(server.channel().declare_queue("celery", passive=True).messages)

    def close(self) -> None:
        self.scheduler.close()
        self.app.close()


@pytest.fixture
def beat(tmp_path: Path) -> Iterator[Callable[..., Beat]]:
    made: list[Beat] = []

    def make(url: str, **entries: Any) -> Beat:
        made.append(Beat(url, tmp_path, **entries))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_given_a_server_that_is_away_when_an_entry_is_due_then_it_is_sent_when_the_server_is_back(
    beat: Callable[..., Beat], rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ours = beat(rabbit_url, each=EACH)
    there, port = rabbit_url, free_port()
    ours.app.conf.broker_url = f"amqp://guest:secret@127.0.0.1:{port}//"

    ours.after(10.0)

    assert "beat: Connection error: " in caplog.text
    assert "it is not known" not in caplog.text
    assert "secret" not in caplog.text
    assert ours.app.schedules.history("each") == []

    ours.app.conf.broker_url = there
    ours.after(1.0)

    (run,) = ours.app.schedules.history("each")
    assert run.task_id is not None
    assert ours.sent() == 1


def test_given_entries_of_which_one_has_no_queue_when_all_are_due_then_the_others_are_sent_once(
    beat: Callable[..., Beat], rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = {"exchange": "unbound", "exchange_type": "direct", "routing_key": "nobody"}
    ours = beat(rabbit_url, a=EACH, b={**EACH, "options": nowhere}, c=EACH)
    with ours.app.connection() as connection:
        Exchange("unbound", "direct")(connection).declare()

    ours.after(10.0)

    assert ours.sent() == 2
    assert "The call of the entry 'b' cannot be sent: no queue is bound to exchange 'unbound'" in caplog.text
    (run,) = ours.app.schedules.history("b")
    assert run.task_id is None


def test_given_a_server_that_dies_when_an_entry_is_due_then_no_moment_is_lost(
    beat: Callable[..., Beat], own_rabbit: RabbitServer
) -> None:
    ours = beat(own_rabbit.new_vhost(), each=EACH)
    ours.after(10.0)
    own_rabbit.kill()
    ours.after(10.0)
    own_rabbit.start()
    ours.after(5.0)

    assert ours.sent() == 2

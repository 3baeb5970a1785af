"""Calls that are published in one step, of which the server refuses some: the others are there, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.rabbit import RabbitServer, vhost_of

from sedano import Celery
from sedano.app.firing import calls_of
from sedano.app.sending import Waiting
from sedano.exceptions import MessageTooLarge, OperationalError, StoreFull
from sedano.protocol.queues import Exchange, Queue

pytestmark = pytest.mark.rabbitmq

NOWHERE = {"exchange": "unbound", "exchange_type": "direct", "routing_key": "nobody"}


@pytest.fixture
def app(rabbit_url: str) -> Iterator[Celery]:
    app = Celery("together", broker=rabbit_url, set_as_current=False)
    app.conf.task_default_queue = "good"
    with app.connection() as connection:
        Exchange("unbound", "direct")(connection).declare()
    yield app
    app.close()


def together(app: Celery, *calls: dict[str, Any]) -> list[Exception | None]:
    """What became of each call; `calls` are their options. As when several threads send at one time."""
    items = []
    for number, options in enumerate(calls):
        args = options.pop("args", ())
        (made,) = [each.made for each in calls_of(app, f"task{number}", args, {}, options, f"id{number}")]
        items.append(Waiting((made.outgoing(),), made.address.declare))
    app.sender.submit(items)
    return [item.error for item in items]


def there(app: Celery, queue: str = "good") -> int:
    with closing(app.stores.open_server()) as server:
        return int(server.channel().declare_queue(queue, passive=True).messages)


def test_given_neighbours_of_a_call_that_no_queue_takes_when_published_together_then_they_are_there_once(app: Celery) -> None:
    before, lost, after = together(app, {}, dict(NOWHERE), {})

    assert before is None
    assert after is None
    assert isinstance(lost, OperationalError)
    assert "'nobody'" in str(lost)
    assert there(app) == 2


def test_given_neighbours_of_a_call_for_an_unknown_exchange_when_published_together_then_they_are_there_once(
    app: Celery,
) -> None:
    before, lost, after = together(app, {}, {"exchange": "missing", "routing_key": "x"}, {})

    assert before is None
    assert after is None
    assert isinstance(lost, OperationalError)
    assert "no exchange 'missing'" in str(lost)
    assert there(app) == 2


def test_given_neighbours_of_a_call_for_a_full_queue_when_published_together_then_they_are_there_once(app: Celery) -> None:
    full = Queue("full", Exchange("full"), "full", max_length=1, queue_arguments={"x-overflow": "reject-publish"})
    app.conf.task_queues = [Queue("good", Exchange("good"), "good"), full]
    assert together(app, {"queue": "full"}) == [None]

    before, refused, after = together(app, {}, {"queue": "full"}, {})

    assert before is None
    assert after is None
    assert isinstance(refused, StoreFull)
    assert (there(app), there(app, "full")) == (2, 1)


def test_given_neighbours_of_a_call_with_too_large_headers_when_published_together_then_they_are_there_once(
    app: Celery,
) -> None:
    before, refused, after = together(app, {}, {"headers": {"large": "x" * 200_000}}, {})

    assert before is None
    assert after is None
    assert isinstance(refused, MessageTooLarge)
    assert there(app) == 2


def test_given_a_deleted_queue_and_a_call_that_no_queue_takes_when_published_together_then_all_but_that_one_are_there(
    app: Celery, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    assert together(app, {}, {}) == [None, None]
    rabbit_server.api("DELETE", f"queues/{vhost_of(rabbit_url)}/good")

    gone, lost, more = together(app, {}, dict(NOWHERE), {})

    assert gone is None
    assert more is None
    assert isinstance(lost, OperationalError)
    assert there(app) == 2


def test_given_an_exchange_that_was_deleted_when_published_to_then_it_is_made_again(
    app: Celery, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    app.conf.task_queues = [Queue("good", Exchange("orders", "topic"), "good.#")]
    route: dict[str, Any] = {"exchange": "orders", "exchange_type": "topic", "routing_key": "good.call"}
    assert together(app, dict(route)) == [None]
    rabbit_server.api("DELETE", f"exchanges/{vhost_of(rabbit_url)}/orders")

    with pytest.raises(OperationalError, match="no exchange 'orders'"):
        app.send_task("first", retry=False, **route)
    app.send_task("second", retry=False, **route)

    assert there(app) == 2

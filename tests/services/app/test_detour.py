"""Producers whose broker has several servers: real ones, which are killed and come back."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from tests.apps import MakeApp
from tests.servers import RedisServer, is_left_out

from sedano import Celery, current
from sedano.app.detour import LOOK_BACK_S, Detour
from sedano.app.sending import Sender
from sedano.contracts import Outgoing, QueueSpec
from sedano.exceptions import OperationalError
from sedano.protocol.call import build

PATIENCE_S = 60.0
QUEUE = QueueSpec("celery", "celery", "direct", "celery")
Three = tuple[RedisServer, RedisServer, RedisServer]


@pytest.fixture
def servers() -> Iterator[Three]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    three = RedisServer(), RedisServer(), RedisServer()
    for server in three:
        server.start()
    yield three
    for server in three:
        server.close()


@pytest.fixture
def make(make_app: MakeApp, servers: Three) -> Callable[..., Celery]:
    def app(**settings: Any) -> Celery:
        urls = [f"redis+socket://:sesame@{server.socket}?virtual_host=0" for server in servers]
        return make_app(broker=urls, backend="disabled://", **settings)

    return app


def depths(app: Celery) -> list[int | None]:
    """How many calls wait at each server; None for one that is away."""
    found: list[int | None] = []
    for place in range(len(app.stores.broker_urls)):
        try:
            with closing(app.stores.at(place).open_broker()) as broker:
                found.append(broker.depth(["celery"])[0].ready)
        except OperationalError:
            found.append(None)
    return found


@pytest.mark.parametrize("retry", [True, False])
def test_given_a_first_server_that_is_away_then_the_next_one_is_published_to(
    make: Callable[..., Celery], servers: Three, retry: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    servers[0].kill()
    for _ in range(3):
        app.send_task("t", retry=retry)
    assert depths(app) == [None, 3, 0]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "sedano.app.detour"]
    assert str(servers[0].socket) in line
    assert "Publishing to" in line.partition(str(servers[0].socket))[2]
    assert str(servers[1].socket) in line
    assert "sesame" not in caplog.text


def test_given_servers_that_die_one_after_the_other_then_each_call_is_published_to_one_that_lives(
    make: Callable[..., Celery], servers: Three
) -> None:
    app = make()
    app.send_task("t")
    assert depths(app) == [1, 0, 0]
    servers[0].kill()
    app.send_task("t")
    assert depths(app) == [None, 1, 0]
    servers[1].kill()
    asyncio.run(app.signature("t").adelay())
    assert depths(app) == [None, None, 1]
    servers[2].kill()
    with pytest.raises(OperationalError, match="cannot be reached"):
        app.send_task("t", retry_policy={"max_retries": 1, "interval_start": 0})
    servers[0].start()
    app.send_task("t")
    assert depths(app) == [1, None, None]


@pytest.mark.setting("broker_failover_strategy")
def test_given_an_order_of_the_users_own_then_servers_are_tried_in_it(make: Callable[..., Celery], servers: Three) -> None:
    app = make(broker_failover_strategy=lambda urls: [urls[2], urls[1], urls[0]])
    servers[0].kill()
    app.send_task("t")
    assert depths(app) == [None, 0, 1]


def test_given_a_first_server_that_is_back_then_it_is_published_to_again(make: Callable[..., Celery], servers: Three) -> None:
    app, now = make(), [0.0]
    detour = Detour(lambda: app.stores, monotonic=lambda: now[0])
    sender = Sender(detour.open, None, detour)

    def publish() -> None:
        sender.publish([Outgoing(build("t", "id"), "celery")], declare=[QUEUE])

    servers[0].kill()
    publish()
    now[0] += LOOK_BACK_S
    publish()  # looks, and finds nothing
    deadline = time.monotonic() + PATIENCE_S
    while detour.is_looking and time.monotonic() < deadline:
        time.sleep(0.01)
    servers[0].start()
    publish()
    assert depths(app) == [0, 3, 0]
    now[0] += LOOK_BACK_S
    while not depths(app)[0] and time.monotonic() < deadline:
        publish()
    assert depths(app)[0] == 1
    before = depths(app)
    publish()
    assert depths(app) == [2, *before[1:]]
    sender.close()


def test_given_a_server_to_write_to_that_is_away_then_the_next_one_is_used_and_that_to_read_from_stays(
    make: Callable[..., Celery], servers: Three
) -> None:
    app = make(broker_write_url=[servers[1].url, servers[2].url])
    servers[1].kill()
    app.send_task("t")
    assert depths(app) == [0, None, 1]


def test_given_a_first_server_that_is_away_then_commands_use_the_first_that_answers(
    make: Callable[..., Celery], servers: Three, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    servers[0].kill()
    app.send_task("t")
    app.control.revoke("some-id")
    assert app.control.ping(timeout=0.1) == []
    with closing(app.stores.at(1).open_coordination()) as coordination:
        assert [order.task_id for order in coordination.revokes()[1]] == ["some-id"]
    assert app.control.purge() == 1
    assert depths(app) == [None, 0, 0]
    assert f"Using the broker redis+socket://:**@{servers[1].socket}" in caplog.text


def test_given_the_page_about_several_servers_then_its_app_has_them() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/how-to/several-servers.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    before, names = current.get_app(), {"Celery": Celery}
    try:
        exec(example, names)
        stores = cast(Any, names["app"]).stores
    finally:
        current.set_app(before)
    assert stores.broker_urls == stores.write_urls == ("redis://one:6379/0", "redis://two:6379/0")

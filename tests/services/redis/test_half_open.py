"""A server that says nothing any more and does not hang up: a router that forgot the connection, a machine that is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest
from tests.servers import RedisServer, is_left_out

from sedano import Sedano
from sedano.contracts import OpenOptions
from sedano.drivers import redis
from sedano.drivers.redis import stream
from sedano.exceptions import BrokerUnavailable, ResultsUnavailable
from sedano.testing.contracts.messages import batch, result
from sedano.testing.proxy import Proxy

pytestmark = pytest.mark.redis

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server() -> Generator[RedisServer]:
    """Not the one that other tests here leave without memory or password."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Generator[Proxy]:
    with Proxy(server.socket) as made:
        yield made


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at a silent subscription that do not take half a minute."""
    monkeypatch.setattr(stream, "PROBE_S", 0.3)
    monkeypatch.setattr(stream, "ANSWER_S", 0.3)


def url_of(proxy: Proxy) -> str:
    return f"redis://{proxy.host}:{proxy.port}/0"


def test_given_a_half_open_connection_when_used_then_unavailable_after_the_socket_timeout(proxy: Proxy) -> None:
    with closing(redis.open_broker(url_of(proxy), OpenOptions(socket_timeout_s=0.5))) as broker:
        broker.publish(batch("q", "a"))
        assert proxy.half_open() == 1
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            broker.publish(batch("q", "b"))
        broker.reconnect()
        broker.publish(batch("q", "c"))


@pytest.mark.usefixtures("brisk")
def test_given_a_half_open_subscription_when_waited_on_then_unavailable_though_nobody_hangs_up(proxy: Proxy) -> None:
    with closing(redis.open_results(url_of(proxy), OpenOptions())) as results, closing(results.subscribe()) as waiting:
        waiting.watch(["a"])
        proxy.half_open()
        with pytest.raises(ResultsUnavailable, match="did not answer in time"):
            waiting.wait(PATIENCE_S)


@pytest.mark.usefixtures("brisk")
def test_given_a_silent_server_that_answers_then_the_subscription_lives_on(proxy: Proxy) -> None:
    with closing(redis.open_results(url_of(proxy), OpenOptions())) as results, closing(results.subscribe()) as waiting:
        waiting.watch(["a"])
        proxy.reset_counts()
        assert waiting.wait(2.0) == []
        assert proxy.traffic.round_trips >= 2, "it asked"
        assert proxy.open_connections == 1
        with closing(redis.open_results(url_of(proxy), OpenOptions())) as other:
            other.store([result("a", b"payload")])
        assert waiting.wait(PATIENCE_S) == [("a", b"payload")]


@pytest.mark.usefixtures("brisk")
def test_given_a_connection_that_becomes_half_open_while_subscribing_then_unavailable(proxy: Proxy) -> None:
    options = OpenOptions(socket_timeout_s=0.5)
    with closing(redis.open_results(url_of(proxy), options)) as results, closing(results.subscribe()) as waiting:
        waiting.watch(["a"])
        proxy.half_open()
        with pytest.raises(ResultsUnavailable, match="did not answer in time"):
            waiting.watch(["b"])


@pytest.mark.usefixtures("brisk")
def test_given_a_caller_that_waits_for_a_result_on_a_half_open_connection_then_it_gets_it(
    proxy: Proxy, server: RedisServer
) -> None:
    app = Sedano("asker", broker=url_of(proxy), backend=url_of(proxy), set_as_current=False)
    app.conf.redis_socket_timeout = 1.0
    direct = Sedano("writer", broker=server.url, backend=server.url, set_as_current=False)
    with closing(app), closing(direct):
        waiting = app.AsyncResult("some-call")
        got: list[object] = []
        thread = threading.Thread(target=lambda: got.append(waiting.get(timeout=PATIENCE_S)))
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not server.command("PUBSUB", "CHANNELS", "*some-call*") and time.monotonic() < deadline:
            time.sleep(0.01)  # another thread subscribes
        assert proxy.half_open() >= 1
        direct.backend.store_result("some-call", 42, "SUCCESS")
        thread.join(PATIENCE_S)
    assert got == [42]


@pytest.mark.usefixtures("brisk")
def test_given_a_mailbox_on_a_half_open_connection_then_unavailable(proxy: Proxy) -> None:
    with closing(redis.open_bus(url_of(proxy), OpenOptions())) as bus, closing(bus.open_mailbox("n")) as mailbox:
        proxy.half_open()
        with pytest.raises(BrokerUnavailable):
            mailbox.receive(PATIENCE_S)

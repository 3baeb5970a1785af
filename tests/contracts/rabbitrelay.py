"""A driver for the suites: one RabbitMQ broker behind a relay, as a node has it.

`rabbitrelay:///folder/name?amqp://…` stands for a virtual host. Slots are clients of one relay, which owns the connection to
which all their deliveries belong.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sedano.contracts import Broker, OpenOptions
from sedano.drivers import rabbitmq
from sedano.exceptions import ImproperlyConfigured
from sedano.worker.relay.client import RelayBroker
from sedano.worker.relay.server import Relay

SCHEMES: Sequence[str] = ("rabbitrelay",)


def open_broker(url: str, options: OpenOptions) -> Broker:
    return RelayBroker(_path(url, shares=options.results_url is not None), fill=rabbitmq.fill)


def shares_store(broker_url: str, results_url: str) -> bool:
    return broker_url == results_url


@contextmanager
def relays(folder: Path, amqp_url: str, options: OpenOptions) -> Generator[str]:
    """The URL of a store that is served while the block runs."""
    url = f"rabbitrelay://{folder}/r"

    def opened(results_url: str | None) -> Broker:
        return rabbitmq.open_broker(amqp_url, msgspec.structs.replace(options, results_url=results_url, unread=True))

    servers = [
        Relay(_path(url, shares=True), lambda: opened("rpc://")),
        Relay(_path(url, shares=False), lambda: opened(None)),
    ]
    try:
        for server in servers:
            server.start()
        yield url
    finally:
        for server in servers:
            server.stop()
        for server in servers:
            assert server.join(10.0)


def _path(url: str, *, shares: bool) -> str:
    scheme, separator, path = url.partition("://")
    if scheme != "rabbitrelay" or not separator:
        raise ImproperlyConfigured(f"{url!r} is no URL of a relay")
    return path + ("" if shares else "-apart")

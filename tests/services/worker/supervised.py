"""A driver for tests: the sqlite store as a broker that only the supervisor may use, and that keeps messages only.

Its deliveries are left to be read by whoever runs the call. Who has registered a lease on it stands in a file beside the store.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from sedano.app import connect, schemes
from sedano.contracts import Broker, Bus, Capabilities, Delivery, Lease, OpenOptions, Source, Taken, TurnReply
from sedano.drivers import sqlite
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope

SCHEMES: Sequence[str] = ("supervised",)


def install() -> None:
    """Have URLs `supervised:///path` open it."""
    cast(dict[str, str], schemes.DRIVERS)["supervised"] = __name__
    connect.MESSAGES_ONLY = (*schemes.MESSAGES_ONLY, __name__)


def uninstall() -> None:
    cast(dict[str, str], schemes.DRIVERS).pop("supervised", None)
    connect.MESSAGES_ONLY = schemes.MESSAGES_ONLY


class SupervisedBroker:
    def __init__(self, broker: Broker, path: str) -> None:
        self._broker, self._path = broker, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(self._broker.capabilities, source=Source.SUPERVISOR)

    def register(self, owner: str, node: str) -> Lease:
        with open(registered(self._path), "a") as file:
            file.write(f"{os.getpid()}\n")
        return self._broker.register(owner, node)

    def turn(self, lease: Lease, **wanted: Any) -> TurnReply:
        reply = self._broker.turn(lease, **wanted)
        _unread(reply.reserved)
        return reply

    def take_over(self, *arguments: Any, **options: Any) -> Taken:
        taken = self._broker.take_over(*arguments, **options)
        _unread(taken.deliveries)
        return taken


def registered(path: str) -> str:
    return f"{path}-registered"


def _unread(deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        delivery.message, delivery.unreadable, delivery.redelivered, delivery.deliveries = None, "", False, 0


def fill(delivery: Delivery) -> None:
    try:
        message = delivery.message = envelope.decode(delivery.raw)
    except UnreadableMessage as exc:
        delivery.unreadable = str(exc)
    else:
        delivery.redelivered, delivery.deliveries = envelope.is_redelivered(message), envelope.deliveries_of(message)


def open_broker(url: str, options: OpenOptions) -> Any:
    return SupervisedBroker(sqlite.open_broker(_inner(url), options), url.partition("://")[2])


def open_bus(url: str, options: OpenOptions) -> Bus:
    return sqlite.open_bus(_inner(url), options)


def shares_store(broker_url: str, results_url: str) -> bool:
    return False


def _inner(url: str) -> str:
    return f"sqlite://{url.partition('://')[2]}"

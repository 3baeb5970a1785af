"""How the driver's objects are made from URLs."""

from __future__ import annotations

from functools import partial

import msgspec

from sedano.contracts import Broker, OpenOptions
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.broker import RabbitBroker
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.opened import Opened
from sedano.drivers.rabbitmq.resultmessage import result_message


def open_broker(url: str, options: OpenOptions) -> Broker:
    """Results that are sent to their callers (`options.results_url` is given then, and no other) go out with the settlement."""
    sends_results = None if options.results_url is None else partial(result_message, options=options.amqp)
    return RabbitBroker(Opened(address_of(url, options.transport, options), options, sends_results))


def open_server(url: str, options: OpenOptions) -> Connection:
    """A connection to declare exchanges and queues on. Whoever has it need not look after it: it has no heartbeat."""
    address = msgspec.structs.replace(address_of(url, options.transport, options), heartbeat_s=0.0)
    return Opened(address, options).connect("declaring")

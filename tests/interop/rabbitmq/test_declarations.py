"""Celery and we declare the same things on one RabbitMQ, whoever comes first: nothing is refused, nothing differs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.interop import environments
from tests.rabbit import RabbitServer, vhost_of

from sedano import Celery
from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq import topology
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.protocol.queues import Exchange, Queue, binding

pytestmark = [pytest.mark.rabbitmq, pytest.mark.celery]

NODE, OID = "w1@node1", "00000000-0000-4000-8000-000000000001"

# Run by both: the classes are Kombu's in one and ours in the other.
QUEUES = """
topic = Exchange("orders", "topic")
queues = [
    Queue("celery", Exchange("celery"), "celery"),
    Queue("urgent", Exchange("celery"), "urgent", max_priority=10),
    Queue("short", Exchange("short"), "short", message_ttl=3.5, expires=3600, max_length=1000, max_length_bytes=10**6),
    Queue("safe", topic, "orders.safe", queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 5}),
    Queue("europe", [binding(topic, "orders.eu.*"), binding(topic, "orders.uk.*")]),
    Queue("all", Exchange("all", "fanout", durable=False, auto_delete=True), durable=False),
    Queue("matched", Exchange("heads", "headers"), binding_arguments={"x-match": "any", "tenant": "blue", "rank": 3}),
    Queue("kept", Exchange("kept", "direct", arguments={"alternate-exchange": "orders"}), "kept",
          queue_arguments={"x-dead-letter-exchange": "all", "x-queue-mode": "lazy"}),
    Queue("plain", routing_key="plain"),
]
"""

FOREIGN = f"""
import os
from celery import Celery
from celery.events.event import get_exchange
from celery.utils.nodenames import worker_direct
from kombu import Exchange, Queue, binding
{QUEUES}
app = Celery("theirs", broker=os.environ["URL"], backend="rpc://")
app.conf.task_queues = queues
with app.connection_for_write() as connection:
    channel = connection.default_channel
    for queue in app.amqp.queues.values():
        queue(channel).declare()
    worker_direct({NODE!r})(channel).declare()
    for exchange in (app.control.mailbox.exchange, app.control.mailbox.reply_exchange, get_exchange(connection)):
        exchange(channel).declare()
    app.backend.oid = {OID!r}
    if app.backend.binding.durable:  # Celery 5.4's is not; nobody but its reader declares it
        app.backend.binding(channel).declare()
    if os.environ["DELAYED"]:
        from kombu.transport import native_delayed_delivery as native
        native.declare_native_delayed_delivery_exchanges_and_queues(connection, os.environ["DELAYED"])
        for queue in app.amqp.queues.values():
            native.bind_queue_to_native_delayed_delivery_exchange(connection, queue)
"""


def declared_by_celery(version: str, delayed: str, folder: Path) -> Callable[[str], None]:
    foreign = environments.Environment(version, environments.python_of(environments.celery(version)))
    return lambda url: void(foreign.run(FOREIGN, folder=folder, variables={"URL": url, "DELAYED": delayed}))


def declared_by_us(delayed: str, *, results: bool) -> Callable[[str], None]:
    def declare(url: str) -> None:
        names: dict[str, Any] = {"Exchange": Exchange, "Queue": Queue, "binding": binding}
        exec(QUEUES, names)
        with closing(Celery("ours", broker="memory://", set_as_current=False)) as app:
            app.conf.task_queues = names["queues"]
            specs = app.amqp.queues.specs()
        whole = (
            topology.task_queues([*specs, topology.worker_direct(NODE)])
            + topology.control_exchanges()
            + topology.event_exchange()
        )
        if results:
            whole += topology.result_queue(OID)
        if delayed:
            whole += topology.delay_levels(delayed) + topology.delay_bindings(specs)
        with closing(connected(url)) as connection:
            topology.declare(connection.channel(), whole)

    return declare


def connected(url: str) -> Connection:
    connection = Connection(address_of(url, {}, OpenOptions()))
    connection.open()
    return connection


def void(_: object) -> None: ...


def definitions(server: RabbitServer, url: str) -> dict[str, list[str]]:
    found: dict[str, Any] = server.api("GET", f"definitions/{vhost_of(url)}")
    return {part: sorted(map(str, found[part])) for part in ("queues", "exchanges", "bindings")}


@pytest.mark.parametrize(
    ("version", "delayed"), [("5.4", ""), ("5.7", ""), ("5.7", topology.CLASSIC), ("5.7", topology.QUORUM)]
)
def test_given_both_engines_when_one_declares_after_the_other_then_nothing_is_refused_and_nothing_is_added(
    rabbit_server: RabbitServer, tmp_path: Path, version: str, delayed: str
) -> None:
    celery, sedano = declared_by_celery(version, delayed, tmp_path), declared_by_us(delayed, results=version != "5.4")
    seen = []
    for first, second in ((celery, sedano), (sedano, celery)):
        url = rabbit_server.new_vhost()
        first(url)
        seen.append(definitions(rabbit_server, url))
        second(url)
        seen.append(definitions(rabbit_server, url))
        rabbit_server.delete_vhost(url)
    theirs, both, ours, also_both = seen
    assert theirs == ours
    assert both == also_both == ours
    assert len(ours["queues"]) == 10 + (version != "5.4") + (topology.LEVELS if delayed else 0)


def test_given_a_queue_that_differs_when_declared_then_the_server_says_what_differs(rabbit_url: str) -> None:
    with closing(connected(rabbit_url)) as connection:
        topology.declare(connection.channel(), topology.Topology(queues=(topology.Queue("celery"),)))
        other = topology.Topology(queues=(topology.Queue("celery", arguments={"x-max-priority": 10}),))
        with pytest.raises(ChannelClosed, match="x-max-priority") as refused:
            topology.declare(connection.channel(), other)
        assert refused.value.code == 406


def test_given_queues_of_nodes_and_askers_when_declared_then_they_end_with_their_connection(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    own = topology.control_queue(NODE) + topology.reply_queue(OID) + topology.event_queue("celeryev.1")
    with closing(connected(rabbit_url)) as connection:
        topology.declare(connection.channel(), own)
        channel = connection.channel()
        assert [channel.declare_queue(queue.name, passive=True).messages for queue in own.queues] == [0, 0, 0]
    with closing(connected(rabbit_url)) as connection:
        for queue in own.queues:
            with pytest.raises(ChannelClosed) as refused:
                connection.channel().declare_queue(queue.name, passive=True)
            assert refused.value.code == 404

"""What is declared on a RabbitMQ, to the argument: what differs from what a Celery declared is refused by the server (406).

A `Topology` is data: exchanges, queues and the bindings between them, in the order in which they are declared. The functions
name everything that a Celery fleet has; `declare` tells it to a channel. No I/O besides that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sedano.contracts.queues import QueueSpec
from sedano.rules.delays import DELAY_ENTRY, DELAY_EXIT, LEVELS, LONGEST_DELAY_S, delayed_key, undelayed_key

if TYPE_CHECKING:
    from sedano.drivers.rabbitmq.channel import Channel

CLASSIC, QUORUM = "classic", "quorum"

WORKER_DIRECT_EXCHANGE = "C.dq2"

_T = TypeVar("_T")

_INTERNAL = "amq."


class Exchange(msgspec.Struct, frozen=True):
    name: str
    kind: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    passive: bool = False
    arguments: Mapping[str, Any] = {}


class Queue(msgspec.Struct, frozen=True):
    name: str
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Mapping[str, Any] = {}


class Binding(msgspec.Struct, frozen=True):
    """`destination` is a queue, or an exchange with `to_exchange`."""

    destination: str
    source: str
    routing_key: str = ""
    to_exchange: bool = False
    arguments: Mapping[str, Any] = {}


class Topology(msgspec.Struct, frozen=True):
    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def __add__(self, other: Topology) -> Topology:
        """Both, and what is in both once."""
        return Topology(
            _once((*self.exchanges, *other.exchanges)),
            _once((*self.queues, *other.queues)),
            _once((*self.bindings, *other.bindings)),
        )


def declare(channel: Channel, topology: Topology) -> None:
    """Declare all of it; what is there already stays as it is. Raises `ChannelClosed` (406 where something differs)."""
    for exchange in topology.exchanges:
        channel.declare_exchange(
            exchange.name,
            exchange.kind,
            passive=exchange.passive,
            durable=exchange.durable,
            auto_delete=exchange.auto_delete,
            arguments=exchange.arguments or None,
        )
    for queue in topology.queues:
        channel.declare_queue(
            queue.name,
            durable=queue.durable,
            exclusive=queue.exclusive,
            auto_delete=queue.auto_delete,
            arguments=queue.arguments or None,
        )
    for bound in topology.bindings:
        bind = channel.bind_exchange if bound.to_exchange else channel.bind_queue
        bind(bound.destination, bound.source, bound.routing_key, bound.arguments or None)


# -- queues of calls --------------------------------------------------------------------------------------------------


def task_queues(specs: Iterable[QueueSpec]) -> Topology:
    """The queues of `specs` with their exchanges and bindings, a queue with several bindings once."""
    whole = Topology()
    for spec in specs:
        if not spec.no_declare:
            whole += _task_queue(spec)
    return whole


def _task_queue(spec: QueueSpec) -> Topology:
    queue = Queue(spec.name, spec.durable, spec.exclusive, spec.auto_delete, dict(spec.arguments))
    if not spec.exchange:
        return Topology(queues=(queue,))
    exchanges = (
        Exchange(
            spec.exchange,
            spec.exchange_type,
            spec.exchange_durable,
            spec.exchange_auto_delete,
            spec.exchange_passive,
            dict(spec.exchange_arguments),
        ),
    )
    is_there = spec.exchange_no_declare or spec.exchange.startswith(_INTERNAL)
    bound = Binding(spec.name, spec.exchange, spec.routing_key, arguments=dict(spec.binding_arguments))
    return Topology(() if is_there else exchanges, (queue,), (bound,))


def worker_direct(node: str) -> QueueSpec:
    """The queue that only this node takes from, as `worker_direct` and routes to a node name it."""
    return QueueSpec(f"{node}.dq2", WORKER_DIRECT_EXCHANGE, "direct", node)


def broadcast(name: str, queue: str) -> QueueSpec:
    """A node's own queue (Celery calls it bcast.<uuid>) of what is sent to all that listen to `name`."""
    return QueueSpec(queue, name, "fanout", auto_delete=True)


def queue_type(spec: QueueSpec) -> str:
    return str(spec.arguments.get("x-queue-type", CLASSIC))


# -- control, events, results -----------------------------------------------------------------------------------------


def control_exchanges(namespace: str = "celery") -> Topology:
    """Where requests go, and where replies go. `namespace` is `control_exchange`."""
    pidbox = _pidbox(namespace)
    return Topology((Exchange(pidbox, "fanout", durable=False), Exchange(f"reply.{pidbox}", "direct", durable=False)))


def control_queue(
    node: str,
    namespace: str = "celery",
    *,
    ttl_s: float | None = 300.0,
    expires_s: float | None = 10.0,
    exclusive: bool = True,
    durable: bool = False,
) -> Topology:
    """Where a node finds its requests."""
    pidbox = _pidbox(namespace)
    queue = Queue(f"{node}.{pidbox}", durable, exclusive, not durable, _limits(ttl_s, expires_s))
    return Topology((Exchange(pidbox, "fanout", durable=False),), (queue,), (Binding(queue.name, pidbox),))


def reply_queue(
    oid: str,
    namespace: str = "celery",
    *,
    ttl_s: float | None = 300.0,
    expires_s: float | None = 10.0,
    exclusive: bool = True,
    durable: bool = False,
) -> Topology:
    """Where the asker `oid` finds the replies."""
    replies = f"reply.{_pidbox(namespace)}"
    queue = Queue(f"{oid}.{replies}", durable, exclusive, not durable, _limits(ttl_s, expires_s))
    return Topology((Exchange(replies, "direct", durable=False),), (queue,), (Binding(queue.name, replies, oid),))


def event_exchange(name: str = "celeryev") -> Topology:
    return Topology((Exchange(name, "topic"),))


def event_queue(
    queue: str,
    pattern: str = "#",
    exchange: str = "celeryev",
    *,
    ttl_s: float | None = 5.0,
    expires_s: float | None = 60.0,
    exclusive: bool = True,
    durable: bool = False,
) -> Topology:
    """A receiver's own queue of events, as Celery's are called celeryev.<uuid>; `pattern` is "#" for all of them and "worker.#"
    for gossip."""
    own = Queue(queue, durable, exclusive, not durable, _limits(ttl_s, expires_s))
    return event_exchange(exchange) + Topology(queues=(own,), bindings=(Binding(queue, exchange, pattern),))


def result_queue(oid: str, expires_s: float | None = 86400.0) -> Topology:
    """Where the sender `oid` finds the results of its calls (rpc://). `expires_s` is `result_expires`."""
    return Topology(queues=(Queue(oid, auto_delete=True, arguments=_limits(None, expires_s)),))


def _pidbox(namespace: str) -> str:
    return f"{namespace}.pidbox"


def _limits(ttl_s: float | None, expires_s: float | None) -> dict[str, Any]:
    limits = {"x-expires": expires_s, "x-message-ttl": ttl_s}
    return {name: int(seconds * 1000) for name, seconds in limits.items() if seconds is not None}


# -- native delay -----------------------------------------------------------------------------------------------------


def delay_levels(kind: str = QUORUM, prefix: str = "celery_delayed", exit_to: str = DELAY_EXIT) -> Topology:
    """The 28 levels, from the top, and the exchange below them; `kind` is `broker_native_delayed_delivery_queue_type`: "quorum"
    or "classic". Other names are for levels of our own."""
    exchanges: list[Exchange] = []
    queues: list[Queue] = []
    bindings: list[Binding] = []
    for level in range(LEVELS - 1, -1, -1):
        name = f"{prefix}_{level}"
        below = f"{prefix}_{level - 1}" if level else exit_to
        arguments: dict[str, Any] = {
            "x-queue-type": kind,
            "x-overflow": "reject-publish",
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": below,
        }
        if kind == QUORUM:
            arguments["x-dead-letter-strategy"] = "at-least-once"
        before = "*." * (LEVELS - 1 - level)
        exchanges.append(Exchange(name, "topic"))
        queues.append(Queue(name, arguments=arguments))
        bindings += Binding(name, name, f"{before}1.#"), Binding(below, name, f"{before}0.#", to_exchange=True)
    return Topology((*exchanges, Exchange(exit_to, "topic")), tuple(queues), tuple(bindings))


def can_delay(spec: QueueSpec) -> bool:
    """Whether a message can come to the queue of `spec` from the delay levels: not by the exact key of a direct exchange."""
    return bool(spec.exchange) and spec.exchange_type != "direct"


def delay_bindings(specs: Iterable[QueueSpec]) -> Topology:
    """What joins the levels to the queues of `specs`, for those that `can_delay`; their exchanges are there already."""
    whole = Topology()
    for spec in specs:
        if can_delay(spec):
            key = spec.routing_key if spec.routing_key.startswith("#") else f"#.{spec.routing_key}"
            whole += Topology(
                bindings=(Binding(spec.exchange, DELAY_EXIT, key, to_exchange=True), Binding(spec.name, spec.exchange, key))
            )
    return whole


def _once(items: Iterable[_T]) -> tuple[_T, ...]:
    kept: list[_T] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return tuple(kept)


__all__ = [
    "CLASSIC",
    "DELAY_ENTRY",
    "DELAY_EXIT",
    "LEVELS",
    "LONGEST_DELAY_S",
    "QUORUM",
    "WORKER_DIRECT_EXCHANGE",
    "Binding",
    "Exchange",
    "Queue",
    "Topology",
    "broadcast",
    "can_delay",
    "control_exchanges",
    "control_queue",
    "declare",
    "delay_bindings",
    "delay_levels",
    "delayed_key",
    "event_exchange",
    "event_queue",
    "queue_type",
    "reply_queue",
    "result_queue",
    "task_queues",
    "undelayed_key",
    "worker_direct",
]

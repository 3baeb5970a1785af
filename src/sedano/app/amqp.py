"""Where calls go: the app's queues and routes, with Celery's names (`app.amqp`, `app.amqp.queues`). The rules are in
`rules/routing.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from sedano.app.drafts import Address, Stencils
from sedano.app.finding import symbol_by_name
from sedano.contracts.queues import QueueSpec
from sedano.exceptions import QueueNotFound
from sedano.protocol.queues import LIMITS, Exchange, Queue, is_broadcast, with_limits
from sedano.rules.delays import DELAY_ENTRY, detour
from sedano.rules.routing import QueueDefaults, QueueTable, Router, destination, look_at_names_only, prepare

if TYPE_CHECKING:
    from sedano.app.base import Celery

_DELIVERY_MODES = {"transient": 1, "persistent": 2}


class QueueBook(QueueTable):
    """The queues by name, ours or Kombu's objects. `consume_from` is what a worker takes from: all of them, until `select`."""

    def __init__(self, queues: Mapping[str, Any] | Iterable[Any] | None = None, defaults: QueueDefaults | None = None) -> None:
        super().__init__(queues, defaults or QueueDefaults())
        self._selected: dict[str, Any] | None = None

    @property
    def create_missing(self) -> bool:
        return self.defaults.create_missing

    def add(self, queue: Any, **kwargs: Any) -> Queue:
        """Add a `Queue`, or make one from a name and its options; returns it."""
        return self.add_by_options(queue, kwargs) if isinstance(queue, str) else super().add(queue)

    @property
    def consume_from(self) -> dict[str, Any]:
        return dict(self) if self._selected is None else self._selected

    def select(self, include: str | Iterable[str] | None) -> None:
        """Consume from these queues only. Raises QueueNotFound for one that is not listed, where none are made up."""
        if include:
            found = [self.find(name) for name in _names(include)]
            self._selected = {queue.name: queue for queue in found}

    def deselect(self, exclude: str | Iterable[str] | None) -> None:
        """Do not consume from these queues."""
        excluded = {self.aliases[name].name if name in self.aliases else name for name in _names(exclude or ())}
        if excluded:
            self._selected = {name: queue for name, queue in self.consume_from.items() if name not in excluded}

    def select_add(self, queue: Any, **kwargs: Any) -> Queue:
        """Add a queue and, when a selection is in force, consume from it too."""
        added = self.add(queue, **kwargs)
        if self._selected is not None:
            self._selected[added.name] = added
        return added

    def unselect(self, name: str, *, forget: bool) -> None:
        """Take `select_add` back; with `forget` the queue is not known any more either."""
        if self._selected is not None:
            self._selected.pop(name, None)
        if forget:
            self.pop(name, None)

    def find(self, name: str) -> Queue:
        """The queue of this name. Raises QueueNotFound."""
        try:
            return self[name]
        except KeyError:
            raise QueueNotFound(
                f"queue {name!r} is not listed in task_queues ({', '.join(sorted(self)) or 'which is empty'}). List it there,"
                " or set task_create_missing_queues=True."
            ) from None

    def specs(self) -> list[QueueSpec]:
        """What is consumed from, as what a broker declares."""
        return [spec for queue in self.consume_from.values() for spec in specs_of(queue)]

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """One line for each queue that is consumed from, as Celery's banner shows them."""
        lines = [
            f".> {name:<16} exchange={queue.exchange.name}({queue.exchange.type}) key={queue.routing_key}"
            for name, queue in sorted(self.consume_from.items())
        ]
        blank = " " * indent
        text = f"\n{blank}".join(lines)
        return blank + text if indent_first else text


class AMQP:
    """Queues, routes and addresses of one app; read from its configuration on first use, and again after `flush_routes`."""

    argsrepr_maxsize = 1024
    kwargsrepr_maxsize = 1024

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._known: dict[tuple[Any, ...], Address] = {}
        self.stencils = Stencils()

    def Queues(  # noqa: N802 - Celery's name
        self, queues: Any, create_missing: bool | None = None, max_priority: int | None = None
    ) -> QueueBook:
        """A table of queues with the settings' defaults."""
        conf = self.app.conf
        defaults = QueueDefaults(
            queue=conf.typed("task_default_queue"),
            exchange=conf.typed("task_default_exchange"),
            exchange_type=conf.typed("task_default_exchange_type"),
            routing_key=conf.typed("task_default_routing_key"),
            queue_type=conf.typed("task_default_queue_type"),
            max_priority=conf.typed("task_queue_max_priority") if max_priority is None else max_priority,
            create_missing=bool(conf.typed("task_create_missing_queues")) if create_missing is None else create_missing,
            missing_queue_type=conf.typed("task_create_missing_queue_type"),
            missing_exchange_type=conf.typed("task_create_missing_queue_exchange_type"),
        )
        return QueueBook(queues, defaults)

    @cached_property
    def queues(self) -> QueueBook:
        return self.Queues(self.app.conf.task_queues)

    @property
    def default_queue(self) -> Queue:
        return self.queues.find(self.app.conf.typed("task_default_queue"))

    @property
    def default_exchange(self) -> Exchange:
        return self.queues.default_exchange

    @cached_property
    def routes(self) -> list[Any]:
        return prepare(self.app.conf.task_routes, resolve=symbol_by_name)

    @cached_property
    def routes_by_name(self) -> bool:
        """Whether the routes look at nothing but a task's name."""
        return look_at_names_only(self.routes)

    @cached_property
    def router(self) -> Router:
        return Router(self.routes, self.queues, default_queue=self.app.conf.typed("task_default_queue"))

    def flush_routes(self) -> None:
        """Read routes and queues anew from the configuration."""
        for name in ("routes", "routes_by_name", "queues", "router"):
            self.__dict__.pop(name, None)
        self._known.clear()
        self.stencils.clear()

    def address(
        self, options: Mapping[str, Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any], task: Any
    ) -> tuple[Mapping[str, Any], Address]:
        """(options with those of the route below them, where the call goes). Raises QueueNotFound."""
        if self.routes:
            options = self.router.route(options, name, args, kwargs, task)
        get = options.get
        queue, exchange = get("queue"), get("exchange")
        key = (
            getattr(queue, "name", queue),
            getattr(exchange, "name", exchange),
            get("routing_key"),
            get("exchange_type"),
            get("delivery_mode"),
        )
        found = self._known.get(key)
        # An object given by the caller may differ from the one of that name that was seen before.
        if found is None or not isinstance(exchange, str | None) or not (isinstance(queue, str | None) or self._has(queue)):
            found = self._known[key] = self._resolve(options, name, args, kwargs, task)
        return options, found

    def delayed(self, where: Address, eta_s: float, countdown: Any = None) -> Address:
        """Where a call goes that is to start at `eta_s` (Unix seconds), or so many seconds from now if `countdown` says so: to
        RabbitMQ's delay queues if one of the app's queues is a quorum queue and the exchange is not direct, as with Celery
        5.7; else to `where`. They hold it for whole seconds: for the rest of one the worker waits."""
        if where.exchange_type == "direct" or not self.app.stores.delays_natively or not self._has_quorum_queues():
            return where
        is_number = isinstance(countdown, int | float) and countdown
        left_s = countdown if is_number else eta_s - self.app.now().timestamp()
        key = detour(left_s, where.routing_key)
        if key is None:
            return where
        return msgspec.structs.replace(where, exchange=DELAY_ENTRY, exchange_type="topic", routing_key=key)

    def _has_quorum_queues(self) -> bool:
        return any((queue.queue_arguments or {}).get("x-queue-type") == "quorum" for queue in self.queues.values())

    def _has(self, queue: Any) -> bool:
        return self.queues.get(queue.name) is queue

    def _resolve(self, options: Mapping[str, Any], name: str, args: Any, kwargs: Any, task: Any) -> Address:
        routed = self.router.route(options, name, args, kwargs, task)
        if routed.get("exchange") and routed.get("routing_key") and options.get("queue") is None:
            routed.pop("queue", None)  # both together are an address; an exchange alone means the default queue, as in Celery
        where = destination(routed, self.queues, default_delivery_mode=self.app.conf.typed("task_default_delivery_mode"))
        bound = tuple(self._bound_to(where.exchange)) if where.exchange else ()
        declare = [spec for queue in bound or where.declare for spec in specs_of(queue) if not is_broadcast(queue)]
        if where.queue is not None and is_broadcast(where.queue):
            declare += map(_exchange_alone, specs_of(where.queue))
        return Address(
            exchange=where.exchange,
            exchange_type=where.exchange_type,
            routing_key=where.routing_key,
            queue=where.queue.name if where.queue is not None else None,
            delivery_mode=int(_DELIVERY_MODES.get(str(where.delivery_mode), where.delivery_mode)),
            declare=tuple(declare),
        )

    def _bound_to(self, exchange: str) -> Iterator[Queue]:
        """The queues that a named exchange leads to: bindings must be known before it is published to."""
        for queue in self.queues.values():
            if any(spec.exchange == exchange for spec in specs_of(queue)):
                yield queue


def specs_of(queue: Any) -> Iterator[QueueSpec]:
    """A `Queue` as what a broker declares: one spec per binding."""
    arguments = with_limits(queue.queue_arguments, {name: getattr(queue, name, None) for name in LIMITS})
    for bound in list(getattr(queue, "bindings", None) or ()) or [queue]:
        exchange = bound.exchange
        bound_by = bound.binding_arguments if bound is queue else bound.arguments
        yield QueueSpec(
            name=queue.name,
            exchange=getattr(exchange, "name", None) or "",
            exchange_type=getattr(exchange, "type", None) or "direct",
            routing_key=bound.routing_key or "",
            durable=bool(queue.durable),
            auto_delete=bool(queue.auto_delete),
            arguments=arguments,
            exclusive=bool(queue.exclusive),
            no_declare=bool(queue.no_declare),
            no_ack=bool(queue.no_ack),
            exchange_durable=bool(getattr(exchange, "durable", True)),
            exchange_auto_delete=bool(getattr(exchange, "auto_delete", False)),
            exchange_passive=bool(getattr(exchange, "passive", False)),
            exchange_no_declare=bool(getattr(exchange, "no_declare", False)),
            exchange_arguments=dict(getattr(exchange, "arguments", None) or {}),
            binding_arguments=dict(bound_by or {}),
            consumer_arguments=dict(queue.consumer_arguments or {}),
        )


def _exchange_alone(spec: QueueSpec) -> QueueSpec:
    """What a producer declares of a queue that is its consumer's own."""
    return msgspec.structs.replace(spec, name="", routing_key="", arguments={}, binding_arguments={}, consumer_arguments={})


def _names(given: str | Iterable[str]) -> list[str]:
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)


Queues = QueueBook

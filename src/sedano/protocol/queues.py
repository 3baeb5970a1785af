"""Exchanges, queues and bindings as values, with Kombu's constructor arguments, attributes and equality.

They are values: drivers do what a queue asks for when it is used. Bound to a channel (`app.connection().channel()`) they can
be declared and deleted by hand; unbound, the methods that need a channel raise `NotBoundError`, as Kombu's do. Unknown keyword
arguments are ignored, as in Kombu.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Self

from sedano.exceptions import CeleryError
from sedano.protocol.ids import new_id

TRANSIENT_DELIVERY_MODE = 1
PERSISTENT_DELIVERY_MODE = 2
# Attributes of a queue that brokers know as arguments: attribute -> (argument, factor from seconds).
LIMITS = {
    "expires": ("x-expires", 1000),
    "message_ttl": ("x-message-ttl", 1000),
    "max_length": ("x-max-length", 1),
    "max_length_bytes": ("x-max-length-bytes", 1),
    "max_priority": ("x-max-priority", 1),
}
DELIVERY_MODES = {"transient": TRANSIENT_DELIVERY_MODE, "persistent": PERSISTENT_DELIVERY_MODE}


_NOT_HERE = (
    "Can't call method on {} not bound to a channel of Kombu: Sedano's do not {}. Send calls with tasks, or install kombu"
)


class NotBoundError(CeleryError):
    """The operation needs a channel."""


lenders: list[Callable[[], Any]] = []
"""Give unbound entities a channel, or None. Kombu's have none; the alias lends them that of the current app."""


class Entity:
    """What the three have in common: a list of attributes that makes their map, their copy and their pickle."""

    attrs: tuple[str, ...] = ()

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """The attributes by name; with `recurse`, exchanges and bindings inside are maps too."""
        return {name: _as_plain(getattr(self, name), recurse) for name in self.attrs}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type, dict[str, Any]]]:
        return _rebuild, (type(self), self._given())

    def __copy__(self) -> Any:
        return _rebuild(type(self), self._given())

    def _given(self) -> dict[str, Any]:
        """What it would be made of."""
        return Entity.as_dict(self)

    _channel: Any = None

    @property
    def is_bound(self) -> bool:
        return self._channel is not None

    @property
    def channel(self) -> Any:
        if self._channel is not None:
            return self._channel
        lent = next((found for lend in lenders if (found := lend()) is not None), None)
        if lent is None:
            raise NotBoundError(
                f"Can't call method on {type(self).__name__} not bound to a channel: bind it to one first, as in"
                " queue(app.connection().default_channel)"
            )
        return lent

    @property
    def _bound(self) -> str:
        return "bound" if self.is_bound else "unbound"

    def bind(self, channel: Any) -> Self:
        """A copy that is bound to a channel, or to the default channel of a connection."""
        bound: Self = copy.copy(self)
        bound._bind(channel)
        return bound

    __call__ = bind

    def _bind(self, channel: Any) -> None:
        channel = getattr(channel, "default_channel", channel)
        if not hasattr(channel, "queue_declare"):
            raise NotBoundError(f"{type(self).__name__} cannot be bound to {channel!r}, which is no channel and no connection")
        self._channel = channel


class Exchange(Entity):
    """Where messages are published. Equality is by what a broker would see."""

    TRANSIENT_DELIVERY_MODE = TRANSIENT_DELIVERY_MODE
    PERSISTENT_DELIVERY_MODE = PERSISTENT_DELIVERY_MODE
    attrs = ("name", "type", "arguments", "durable", "passive", "auto_delete", "delivery_mode", "no_declare")

    def __init__(
        self,
        name: str | None = "",
        type: str | None = "",  # noqa: A002 - Kombu's name
        channel: Any = None,
        *,
        arguments: dict[str, Any] | None = None,
        durable: bool | None = None,
        passive: bool | None = None,
        auto_delete: bool | None = None,
        delivery_mode: int | str | None = None,
        no_declare: bool | None = None,
        **_ignored: Any,
    ) -> None:
        self.name = name or ""
        self.type = type or "direct"
        self.arguments = arguments
        self.durable = _flag(durable, default=True)
        self.passive = _flag(passive)
        self.auto_delete = _flag(auto_delete)
        self.delivery_mode = (
            DELIVERY_MODES.get(delivery_mode, delivery_mode) if isinstance(delivery_mode, str) else delivery_mode
        )
        self.no_declare = _flag(no_declare)
        if channel:
            self._bind(channel)

    @property
    def can_cache_declaration(self) -> bool:
        return not self.auto_delete

    def binding(
        self,
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        unbind_arguments: Mapping[str, Any] | None = None,
    ) -> binding:
        """A binding to this exchange, for `Queue(bindings=[…])`."""
        return binding(self, routing_key, arguments, unbind_arguments)

    def declare(self, nowait: bool = False, passive: bool | None = None, channel: Any = None) -> None:
        """Make it on the broker; with `passive` it must be there."""
        if self.name and not self.name.startswith("amq.") and not self.no_declare:
            (channel or self.channel).exchange_declare(
                exchange=self.name,
                type=self.type,
                durable=self.durable,
                auto_delete=self.auto_delete,
                arguments=self.arguments,
                nowait=nowait,
                passive=self.passive if passive is None else passive,
            )

    def bind_to(
        self,
        exchange: Exchange | str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
        **_ignored: Any,
    ) -> None:
        """Have what `exchange` gets under the key come here too."""
        (channel or self.channel).exchange_bind(
            destination=self.name, source=_name(exchange), routing_key=routing_key, nowait=nowait, arguments=arguments
        )

    def unbind_from(
        self,
        source: Exchange | str = "",
        routing_key: str = "",
        nowait: bool = False,
        arguments: Mapping[str, Any] | None = None,
        channel: Any = None,
    ) -> None:
        (channel or self.channel).exchange_unbind(
            destination=self.name, source=_name(source), routing_key=routing_key, nowait=nowait, arguments=arguments
        )

    def delete(self, if_unused: bool = False, nowait: bool = False) -> None:
        self.channel.exchange_delete(exchange=self.name, if_unused=if_unused, nowait=nowait)

    def _publishes(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotBoundError(_NOT_HERE.format("Exchange", "publish"))

    Message = publish = _publishes

    def __hash__(self) -> int:
        return hash(f"E|{self.name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exchange):
            return NotImplemented
        seen = ("name", "type", "arguments", "durable", "auto_delete", "delivery_mode")
        return all(getattr(self, name) == getattr(other, name) for name in seen)

    def __repr__(self) -> str:
        return f"<{self._bound} Exchange {_bare(self.name) or repr('')}({self.type})>"

    def __str__(self) -> str:
        return f"Exchange {_bare(self.name) or repr('')}({self.type})"


class binding(Entity):  # noqa: N801 - Kombu's name
    """The rule that joins a queue to an exchange."""

    attrs = ("exchange", "routing_key", "arguments", "unbind_arguments")

    def __init__(
        self,
        exchange: Exchange | None = None,
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        unbind_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.arguments = arguments
        self.unbind_arguments = unbind_arguments

    def __repr__(self) -> str:
        return f"<binding: {self}>"

    def __str__(self) -> str:
        return f"{_bare(self.exchange.name if self.exchange else '')}->{_bare(self.routing_key)}"

    def declare(self, channel: Any, nowait: bool = False) -> None:
        """Make its exchange."""
        if self.exchange is not None and self.exchange.name:
            self.exchange.declare(nowait=nowait, channel=channel)


class Queue(Entity):
    """Where messages wait, and how they get there.

    `exchange` None means the default exchange, which reaches every queue by its name; a list of bindings in its place, or
    `bindings`, leaves the queue without an exchange of its own (`exchange` is None then).
    """

    attrs = (
        "name", "exchange", "routing_key", "queue_arguments", "binding_arguments", "consumer_arguments", "durable",
        "exclusive", "auto_delete", "no_ack", "alias", "bindings", "no_declare", "expires", "message_ttl", "max_length",
        "max_length_bytes", "max_priority",
    )  # fmt: skip

    def __init__(
        self,
        name: str | None = "",
        exchange: Exchange | str | Iterable[binding] | None = None,
        routing_key: str | None = "",
        channel: Any = None,
        bindings: Iterable[binding] | None = None,
        on_declared: Callable[..., Any] | None = None,
        *,
        queue_arguments: dict[str, Any] | None = None,
        binding_arguments: dict[str, Any] | None = None,
        consumer_arguments: dict[str, Any] | None = None,
        durable: bool | None = None,
        exclusive: bool | None = None,
        auto_delete: bool | None = None,
        no_ack: bool | None = None,
        alias: str | None = None,
        no_declare: bool | None = None,
        expires: float | None = None,
        message_ttl: float | None = None,
        max_length: int | None = None,
        max_length_bytes: int | None = None,
        max_priority: int | None = None,
        **_ignored: Any,
    ) -> None:
        self.name = name or ""
        self.bindings: set[binding] = set(bindings or ())
        self.exchange: Exchange | None = Exchange(exchange) if isinstance(exchange, str) else Exchange("")
        if isinstance(exchange, Exchange):
            self.exchange = exchange
        elif isinstance(exchange, list | tuple | set):
            self.bindings.update(exchange)
        if self.bindings:
            self.exchange = None
        self.routing_key = routing_key or ""
        self.on_declared = on_declared
        self.queue_arguments = queue_arguments
        self.binding_arguments = binding_arguments
        self.consumer_arguments = consumer_arguments
        self.durable = _flag(durable, default=True)
        self.exclusive = _flag(exclusive)
        self.auto_delete = _flag(auto_delete) or self.exclusive  # nobody could consume from it after its connection is gone
        self.no_ack = False if no_ack is None else no_ack
        self.alias = alias
        self.no_declare = None if no_declare is None else bool(no_declare)
        self.expires = _number(expires, float)
        self.message_ttl = _number(message_ttl, float)
        self.max_length = _number(max_length, int)
        self.max_length_bytes = _number(max_length_bytes, int)
        self.max_priority = _number(max_priority, int)
        if channel:
            self._bind(channel)

    @classmethod
    def from_dict(cls, queue: str, **options: Any) -> Queue:
        """A queue from the flat map of a `task_queues` setting.

        `exchange`, `exchange_type`, `exchange_durable`, `exchange_auto_delete`, `exchange_arguments` and `delivery_mode`
        describe the exchange; `binding_key` (or `routing_key`), `queue_durable` and `queue_auto_delete` the queue;
        `durable` and `auto_delete` both of them; every other attribute of a queue is taken under its own name.
        """
        exchange = Exchange(
            options.get("exchange"),
            options.get("exchange_type"),
            delivery_mode=options.get("delivery_mode"),
            durable=_first(options, "exchange_durable", "durable"),
            auto_delete=_first(options, "exchange_auto_delete", "auto_delete"),
            arguments=options.get("exchange_arguments"),
        )
        explicit = ("name", "exchange", "routing_key", "durable", "auto_delete")
        return Queue(
            queue,
            exchange=exchange,
            routing_key=options.get("binding_key") or options.get("routing_key"),
            durable=_first(options, "queue_durable", "durable"),
            auto_delete=_first(options, "queue_auto_delete", "auto_delete"),
            **{name: options[name] for name in cls.attrs if name not in explicit and name in options},
        )

    @property
    def can_cache_declaration(self) -> bool:
        return not self.auto_delete and "x-expires" not in (self.queue_arguments or {})

    def bind(self, channel: Any) -> Self:
        """A copy that is bound to a channel, or to the default channel of a connection."""
        bound = super().bind(channel)
        bound.on_declared = self.on_declared
        return bound

    __call__ = bind

    def _bind(self, channel: Any) -> None:
        super()._bind(channel)
        if self.exchange is not None:
            self.exchange = self.exchange.bind(self._channel)

    def declare(self, nowait: bool = False, channel: Any = None) -> str:
        """Make the queue, its exchange and its bindings on the broker; returns its name."""
        if not self.no_declare:
            channel = channel or self.channel
            if self.exchange is not None:
                self.exchange.declare(nowait=nowait, channel=channel)
            self.queue_declare(nowait=nowait, channel=channel)
            if self.exchange is not None and self.exchange.name:
                self.queue_bind(nowait=nowait, channel=channel)
            for bound in self.bindings:
                bound.declare(channel, nowait=nowait)
                self.bind_to(bound.exchange or "", bound.routing_key, bound.arguments, channel=channel, nowait=nowait)
        return self.name

    def queue_declare(self, nowait: bool = False, passive: bool = False, channel: Any = None) -> Any:
        """Make the queue alone; the broker names one without a name. Returns (name, messages, consumers)."""
        channel = channel or self.channel
        found = channel.queue_declare(
            queue=self.name,
            passive=passive,
            durable=self.durable,
            exclusive=self.exclusive,
            auto_delete=self.auto_delete,
            arguments=with_limits(self.queue_arguments, {name: getattr(self, name) for name in LIMITS}),
            nowait=nowait,
        )
        self.name = self.name or found[0]
        if self.on_declared:
            self.on_declared(*found)
        return found

    def queue_bind(self, nowait: bool = False, channel: Any = None) -> None:
        self.bind_to(self.exchange or "", self.routing_key, self.binding_arguments, channel=channel, nowait=nowait)

    def queue_unbind(self, arguments: Mapping[str, Any] | None = None, nowait: bool = False, channel: Any = None) -> None:
        self.unbind_from(self.exchange or "", self.routing_key, arguments, nowait, channel)

    def bind_to(
        self,
        exchange: Exchange | str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
    ) -> None:
        (channel or self.channel).queue_bind(
            queue=self.name, exchange=_name(exchange), routing_key=routing_key, arguments=arguments, nowait=nowait
        )

    def unbind_from(
        self,
        exchange: Exchange | str = "",
        routing_key: str = "",
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        channel: Any = None,
    ) -> None:
        (channel or self.channel).queue_unbind(
            queue=self.name, exchange=_name(exchange), routing_key=routing_key, arguments=arguments, nowait=nowait
        )

    def purge(self, nowait: bool = False) -> int:
        """Drop what waits in it; returns how many messages."""
        return self.channel.queue_purge(queue=self.name, nowait=nowait) or 0

    def delete(self, if_unused: bool = False, if_empty: bool = False, nowait: bool = False) -> Any:
        return self.channel.queue_delete(queue=self.name, if_unused=if_unused, if_empty=if_empty, nowait=nowait)

    def _consumes(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotBoundError(_NOT_HERE.format("Queue", "consume"))

    get = consume = cancel = _consumes

    def __hash__(self) -> int:
        return hash(f"Q|{self.name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            return NotImplemented
        seen = (
            "name", "exchange", "routing_key", "queue_arguments", "binding_arguments", "consumer_arguments", "durable",
            "exclusive", "auto_delete",
        )  # fmt: skip
        return all(getattr(self, name) == getattr(other, name) for name in seen)

    def __repr__(self) -> str:
        if self.bindings:
            return f"<{self._bound} Queue {_bare(self.name)} -> [{', '.join(map(str, self.bindings))}]>"
        return f"<{self._bound} Queue {_bare(self.name)} -> {self.exchange!r} -> {_bare(self.routing_key)}>"


class Broadcast(Queue):
    """A queue of one consumer's own, bound to the fanout exchange `name`: every consumer gets what is sent there. Kombu's
    `kombu.common.Broadcast`.

    The queue is called `queue`, or `bcast.<uuid>`; with `unique` always with a uuid of its own.
    """

    def __init__(
        self,
        name: str | None = None,
        queue: str | None = None,
        unique: bool = False,
        auto_delete: bool = True,
        exchange: Exchange | None = None,
        alias: str | None = None,
        **options: Any,
    ) -> None:
        called = f"{queue or 'bcast'}.{new_id()}" if unique or not queue else queue
        options.pop("bindings", None)
        self.queue = called
        super().__init__(
            called,
            Exchange(name, "fanout") if exchange is None else exchange,
            auto_delete=auto_delete,
            alias=alias or name,
            **options,
        )

    def _given(self) -> dict[str, Any]:
        return {**super()._given(), "name": None, "queue": self.name}


def is_broadcast(queue: object) -> bool:
    """Whether it is a `Broadcast`, ours or Kombu's: nobody but its consumer declares it."""
    return any(kind.__name__ == "Broadcast" for kind in type(queue).__mro__)


def with_limits(arguments: Mapping[str, Any] | None, limits: Mapping[str, float | None]) -> dict[str, Any]:
    """`arguments` of a queue with its own `expires`, `message_ttl` (seconds), `max_length` … as a broker takes them."""
    written = {LIMITS[name]: value for name, value in limits.items() if value is not None}
    return {**(arguments or {}), **{argument: int(value * factor) for (argument, factor), value in written.items()}}


def _rebuild(kind: type, attributes: dict[str, Any]) -> Any:
    return kind(**attributes)


def _as_plain(value: Any, recurse: bool) -> Any:
    if isinstance(value, set):
        return [_as_plain(item, recurse) for item in value]
    return value.as_dict(recurse=True) if recurse and isinstance(value, Entity) else value


def _name(exchange: Exchange | str) -> str:
    return exchange if isinstance(exchange, str) else exchange.name


def _flag(value: Any, *, default: bool = False) -> bool:
    return default if value is None else bool(value)


def _number(value: Any, kind: type[Any]) -> Any:
    return None if value is None else kind(value)


def _first(options: Mapping[str, Any], *names: str) -> Any:
    return next((options[name] for name in names if options.get(name) is not None), None)


def _bare(text: str) -> str:
    return repr(text)[1:-1]


__all__ = [
    "DELIVERY_MODES",
    "LIMITS",
    "PERSISTENT_DELIVERY_MODE",
    "TRANSIENT_DELIVERY_MODE",
    "Broadcast",
    "Exchange",
    "NotBoundError",
    "Queue",
    "binding",
    "is_broadcast",
    "lenders",
    "with_limits",
]

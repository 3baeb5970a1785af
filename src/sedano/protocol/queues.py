"""Exchanges, queues and bindings as values, with Kombu's constructor arguments, attributes and equality.

They declare nothing and bind to no channel: drivers do what a queue asks for when it is used. The methods that need a
channel in Kombu raise `NotBoundError` here, as Kombu's unbound objects do. Unknown keyword arguments are ignored, as in Kombu.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from sedano.exceptions import CeleryError

TRANSIENT_DELIVERY_MODE = 1
PERSISTENT_DELIVERY_MODE = 2
DELIVERY_MODES = {"transient": TRANSIENT_DELIVERY_MODE, "persistent": PERSISTENT_DELIVERY_MODE}


class NotBoundError(CeleryError):
    """The operation needs a channel."""


class _Entity:
    """What the three have in common: a list of attributes that makes their map, their copy and their pickle."""

    attrs: tuple[str, ...] = ()

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """The attributes by name; with `recurse`, exchanges and bindings inside are maps too."""
        return {name: _as_plain(getattr(self, name), recurse) for name in self.attrs}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type, dict[str, Any]]]:
        return _rebuild, (type(self), _Entity.as_dict(self))

    def __copy__(self) -> Any:
        return _rebuild(type(self), _Entity.as_dict(self))

    @property
    def is_bound(self) -> bool:
        return False

    @property
    def channel(self) -> NoReturn:
        raise NotBoundError(f"Can't call method on {type(self).__name__} not bound to a channel")

    def bind(self, channel: Any) -> NoReturn:
        """Not possible: there are no channels here."""
        raise NotBoundError(
            f"{type(self).__name__} cannot be bound to {channel!r}: in Sedano it is a value that drivers read. "
            "Install kombu and use its own classes to talk to a broker directly"
        )

    __call__ = bind


class Exchange(_Entity):
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
            self.bind(channel)

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

    def declare(self, *_args: Any, **_kwargs: Any) -> None:
        if self.name and not self.name.startswith("amq.") and not self.no_declare:
            _ = self.channel

    def _needs_channel(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.channel

    bind_to = unbind_from = Message = publish = delete = _needs_channel

    def __hash__(self) -> int:
        return hash(f"E|{self.name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exchange):
            return NotImplemented
        seen = ("name", "type", "arguments", "durable", "auto_delete", "delivery_mode")
        return all(getattr(self, name) == getattr(other, name) for name in seen)

    def __repr__(self) -> str:
        return f"<unbound Exchange {_bare(self.name) or repr('')}({self.type})>"

    def __str__(self) -> str:
        return f"Exchange {_bare(self.name) or repr('')}({self.type})"


class binding(_Entity):  # noqa: N801 - Kombu's name
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


class Queue(_Entity):
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
            self.bind(channel)

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

    def declare(self, *_args: Any, **_kwargs: Any) -> str:
        return self.name if self.no_declare else self.channel

    def _needs_channel(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.channel

    queue_declare = queue_bind = queue_unbind = bind_to = unbind_from = _needs_channel
    get = purge = consume = cancel = delete = _needs_channel

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
            return f"<unbound Queue {_bare(self.name)} -> [{', '.join(map(str, self.bindings))}]>"
        return f"<unbound Queue {_bare(self.name)} -> {self.exchange!r} -> {_bare(self.routing_key)}>"


def _rebuild(kind: type, attributes: dict[str, Any]) -> Any:
    return kind(**attributes)


def _as_plain(value: Any, recurse: bool) -> Any:
    if isinstance(value, set):
        return [_as_plain(item, recurse) for item in value]
    return value.as_dict(recurse=True) if recurse and isinstance(value, _Entity) else value


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
    "PERSISTENT_DELIVERY_MODE",
    "TRANSIENT_DELIVERY_MODE",
    "Exchange",
    "NotBoundError",
    "Queue",
    "binding",
]

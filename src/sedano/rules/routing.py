"""Where a call goes: from `task_routes`, the queue table and the call's own options to one destination.

The options of the call win over those of a route, a route wins over the default queue. Exact names are looked up before
patterns, patterns are tried in their order, routers in theirs; the first that answers is taken.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from sedano.exceptions import ImproperlyConfigured, QueueNotFound
from sedano.nearest import hint
from sedano.protocol.queues import Exchange, Queue

# What a router is asked with: name, args, kwargs, options, task. It answers with a route, or None to let others answer.
Ask = Callable[[str, Sequence[Any], Mapping[str, Any], Mapping[str, Any], Any], Any]

DIRECT: Final = "direct"
DEFAULT_EXCHANGE: Final = ""  # the one without a name, which leads straight to the queue called like the routing key


class QueueDefaults(msgspec.Struct, frozen=True):
    """The settings that complete a queue, and say what becomes of one that is not listed."""

    queue: str = "celery"
    exchange: str | None = None
    exchange_type: str = DIRECT
    routing_key: str | None = None
    queue_type: str = "classic"
    max_priority: int | None = None
    create_missing: bool = True
    missing_queue_type: str = "classic"
    missing_exchange_type: str | None = None


class Destination(msgspec.Struct, frozen=True):
    """Where to publish. `queue` is set when the message is meant for one queue, `exchange` is then perhaps empty.

    `declare` are the queues that must exist before.
    """

    exchange: str
    routing_key: str
    exchange_type: str
    queue: Queue | None
    delivery_mode: int | str
    declare: tuple[Queue, ...]


class QueueTable(dict[str, Queue]):
    """Name or alias -> queue. A name that is not there is made up on first use, or raises KeyError where that is off.

    Queues that name no exchange or key are given the default ones, in place.
    """

    def __init__(self, queues: Mapping[str, Any] | Iterable[Queue] | None, defaults: QueueDefaults) -> None:
        super().__init__()
        self.defaults = defaults
        self.aliases: dict[str, Queue] = {}
        self.default_exchange = Exchange(defaults.exchange or defaults.queue, defaults.exchange_type)
        if not queues:
            queues = [self._default_queue()] if defaults.queue else []
        if isinstance(queues, Mapping):
            by_name: Mapping[Any, Any] = queues
            for name, options in by_name.items():
                self.add_by_options(name, options) if isinstance(options, Mapping) else self.add(options)
        else:
            for queue in queues:
                self.add(queue)

    def __missing__(self, name: str) -> Queue:
        if name in self.aliases:
            return self.aliases[name]
        if not self.defaults.create_missing:
            raise KeyError(name)
        return self.add(missing_queue(name, self.defaults))

    def add(self, queue: Queue) -> Queue:
        """Enter a queue under its name and alias, completed; it is returned."""
        if queue.exchange is None or queue.exchange.name == "":  # pyright: ignore[reportUnnecessaryComparison] - Kombu's may be None
            queue.exchange = self.default_exchange
        if not queue.routing_key:
            queue.routing_key = self.defaults.routing_key or self.defaults.queue
        if self.defaults.max_priority is not None:
            queue.queue_arguments = {"x-max-priority": self.defaults.max_priority, **(queue.queue_arguments or {})}
        self[queue.name] = queue
        if queue.alias:
            self.aliases[queue.alias] = queue
        return queue

    def add_by_options(self, name: str, options: Mapping[str, Any]) -> Queue:
        """Enter a queue from a dict of options; without a key it is bound by its name."""
        plain = dict(options)
        plain["routing_key"] = plain.get("routing_key") or plain.get("binding_key") or name
        return self.add(Queue.from_dict(name, **plain))

    def _default_queue(self) -> Queue:
        return Queue(
            self.defaults.queue,
            self.default_exchange,
            self.defaults.routing_key or self.defaults.queue,
            queue_arguments=_type_arguments(self.defaults.queue_type),
        )


def missing_queue(name: str, defaults: QueueDefaults) -> Queue:
    """The queue that is made up for a name that nobody listed: bound by its own name to an exchange called like it."""
    exchange = Exchange(name, defaults.missing_exchange_type or DIRECT)
    return Queue(name, exchange, name, queue_arguments=_type_arguments(defaults.missing_queue_type))


def prepare(routes: Any, resolve: Callable[[str], Any] | None = None) -> list[Ask]:
    """`task_routes` as written, as a list of functions to ask in turn.

    `resolve` turns a dotted path into what it names, at its first use. Raises ImproperlyConfigured for what routes nothing.
    """
    return list(_routers(routes, resolve))


def look_at_names_only(routers: Iterable[Ask]) -> bool:
    """Whether every answer depends on the task's name alone: maps and lists of pairs, no functions and no objects."""
    return all(isinstance(ask, _ByMap) for ask in routers)


def lookup(
    routers: Iterable[Ask], name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], task: Any
) -> dict[str, Any] | None:
    """The route of the first router that has one, perhaps an empty one; None when none has."""
    for ask in routers:
        answer = ask(name, args, kwargs, options, task)
        if answer is not None:
            return _as_route(answer)
    return None


class Router:
    """Answers where calls go, with Celery's `route`. Make a new one when the settings change."""

    def __init__(self, routers: Iterable[Ask], queues: Mapping[str, Queue], *, default_queue: str = "celery") -> None:
        self._routers = tuple(routers)
        self._queues = queues
        self._default_queue = default_queue

    def route(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        task_type: Any = None,
    ) -> dict[str, Any]:
        """The options of the call completed by the route: `queue`, if there is one, as a Queue. Raises QueueNotFound.

        Where neither names a queue, it is the default queue, except when a route answered without one.
        """
        given = self._expand(options, name)
        route = lookup(self._routers, name, args, kwargs or {}, given, task_type)
        if route:
            expanded = self._expand(route, name)
        elif "queue" in given:
            return given
        else:
            expanded = self._expand({"queue": self._default_queue}, name)
        return {**expanded, **{key: value for key, value in given.items() if value is not None}}

    def _expand(self, route: Mapping[str, Any], name: str) -> dict[str, Any]:
        expanded = dict(route)
        queue = expanded.pop("queue", None)
        if not queue:
            return expanded
        if isinstance(queue, str):
            try:
                queue = self._queues[queue]
            except KeyError:
                raise QueueNotFound(_not_found(queue, name, self._queues)) from None
        return {"queue": queue, **expanded}


def destination(options: Mapping[str, Any], queues: QueueTable, *, default_delivery_mode: int | str = 2) -> Destination:
    """Where a call with these options (of `Router.route`) is published.

    A queue with a direct exchange is published to by its name alone, unless the call names both exchange and key.
    """
    exchange, key, queue = options.get("exchange"), options.get("routing_key"), options.get("queue")
    defaults = queues.defaults
    if queue is None and exchange is None:
        queue = queues[defaults.queue]
    elif isinstance(queue, str):
        queue = queues[queue]
    of_queue: Exchange | None = getattr(queue, "exchange", None)
    kind: str = options.get("exchange_type") or (of_queue.type if of_queue is not None else DIRECT)
    mode = options.get("delivery_mode") or (of_queue.delivery_mode if of_queue is not None else None)
    if queue is not None and kind == DIRECT and not (exchange and key):
        exchange, key = DEFAULT_EXCHANGE, queue.name
    elif exchange is None:
        exchange = (of_queue.name if of_queue is not None else "") or queues.default_exchange.name
        key = key or (queue.routing_key if queue is not None else None)
    return Destination(
        exchange=exchange if isinstance(exchange, str) else exchange.name,
        # Celery publishes with no key to the exchange without a name here, which reaches nobody.
        routing_key=key or defaults.routing_key or defaults.queue,
        exchange_type=kind,
        queue=queue,
        delivery_mode=mode or default_delivery_mode,
        declare=() if queue is None else (queue,),
    )


# -- routers ----------------------------------------------------------------------------------------------------------


def _routers(routes: Any, resolve: Callable[[str], Any] | None) -> Iterator[Ask]:
    if routes is None:
        return
    pairs: list[Any] = []
    for item in routes if isinstance(routes, list | tuple) else (routes,):
        if _is_pair(item):
            pairs.append(item)  # pairs that stand in the list itself are one router, as if they had a list of their own
            continue
        if pairs:
            yield _ByMap(pairs)
            pairs = []
        yield _router(item, resolve)
    if pairs:
        yield _ByMap(pairs)


def _router(item: Any, resolve: Callable[[str], Any] | None) -> Ask:
    if isinstance(item, str):
        return _by_path(item, resolve)
    if isinstance(item, Mapping | list | tuple):
        return _ByMap(item)
    if isinstance(item, type) and hasattr(item, "route_for_task"):
        item = item()
    if hasattr(item, "route_for_task"):
        return lambda name, args, kwargs, _options, _task: item.route_for_task(name, args, kwargs)
    if callable(item):
        return lambda name, args, kwargs, options, task: item(name, args, kwargs, options, task=task)
    raise ImproperlyConfigured(f"task_routes: {item!r} is no router: give a dict, a list of pairs, a function or a path to one")


class _ByMap:
    def __init__(self, routes: Mapping[Any, Any] | Sequence[Any]) -> None:
        self._exact: dict[str, Any] = {}
        self._patterns: list[tuple[re.Pattern[str], Any]] = []
        for key, route in _pairs(routes):
            if isinstance(key, re.Pattern):
                self._patterns.append((key, route))
            elif "*" in key:
                self._patterns.append((re.compile(fnmatch.translate(key)), route))
            else:
                self._exact[key] = route

    def __call__(self, name: str, _args: Any, _kwargs: Any, _options: Any, _task: Any) -> Any:
        if name in self._exact:
            return self._exact[name]
        return next((route for pattern, route in self._patterns if pattern.match(name)), None)


def _by_path(path: str, resolve: Callable[[str], Any] | None) -> Ask:
    found: list[Ask] = []

    def ask(name: str, args: Any, kwargs: Any, options: Any, task: Any) -> Any:
        if not found:
            if resolve is None:
                raise ImproperlyConfigured(f"task_routes: nobody can look up {path!r} here")
            found.append(_router(resolve(path), None))
        return found[0](name, args, kwargs, options, task)

    return ask


def _pairs(routes: Mapping[Any, Any] | Sequence[Any]) -> list[tuple[Any, Any]]:
    pairs: list[Any] = list(routes.items()) if isinstance(routes, Mapping) else list(routes)
    for pair in pairs:
        if not _is_pair(pair):
            raise ImproperlyConfigured(f"task_routes: {pair!r} is not a pair of a name or pattern and a route")
    return pairs


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str | re.Pattern)


def _as_route(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str) or hasattr(answer, "exchange"):
        return {"queue": answer} if answer else {}
    return dict(answer)  # a mapping, or pairs


def _not_found(queue: str, task: str, queues: Mapping[str, Queue]) -> str:
    return (
        f"task {task!r} was routed to queue {queue!r}, which task_queues does not list.{hint(queue, queues)} "
        "List it there, or set task_create_missing_queues=True."
    )


def _type_arguments(queue_type: str) -> dict[str, Any] | None:
    if queue_type in ("", "classic"):
        return None
    if queue_type != "quorum":
        raise ImproperlyConfigured(f"{queue_type!r} is no type of queue: use 'classic' or 'quorum'")
    return {"x-queue-type": queue_type}

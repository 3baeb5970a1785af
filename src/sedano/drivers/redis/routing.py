"""From exchange and routing key to lists and channels: Kombu's bindings on Redis, and messages as arguments of scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from sedano.contracts import Outgoing, QueueSpec
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys, storable
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import MAX_ARGUMENT_BYTES, Argument, Reply
from sedano.exceptions import MessageTooLarge, OperationalError
from sedano.protocol import envelope

_BIND, _DECLARE = load("bind"), load("declare")

_SHORTEST_LIFE_MS = 60 * 60 * 1000
"""Kombu 5.7 keeps a binding of an expiring queue twice the queue's own time, and never under an hour."""

_WORDS = {"*": r"[^\.]+", "#": r".*?"}


class Router:
    """Knows which queues expire, and asks the server for bindings; those are never cached: a reply queue comes and goes."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._expiring: dict[str, tuple[QueueSpec, int]] = {}
        self._noted: set[str] = set()

    # -- bindings -----------------------------------------------------------------------------------------------------

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        """Write the bindings as Kombu 5.7 does, permanent ones where the queue does not expire."""
        sets: list[tuple[str, str]] = []
        for spec in queues:
            if not spec.name:
                continue
            self._noted.add(spec.name)
            sets.append((self._keys.own("queues"), spec.name))
            if spec.exchange and spec.exchange_type == "fanout":
                sets.append((self._keys.fanout_queues(spec.exchange), spec.name))
            life_ms = _life_ms(spec)
            if life_ms is not None:
                self._expiring[spec.name] = (spec, life_ms)
            elif spec.exchange:
                self._expiring.pop(spec.name, None)
                member = self._member(spec)
                sets += ((self._keys.binding(spec.exchange), member), (self._keys.permanent(spec.exchange), member))
        if sets:
            self._connection.run(_DECLARE, [name for name, _ in sets], [member for _, member in sets])
        self.refresh()

    def refresh(self) -> None:
        """Put off the deadlines of the bindings of expiring queues; due every third of an hour."""
        for spec, life_ms in self._expiring.values():
            if spec.exchange:
                self._connection.run(
                    _BIND,
                    (self._keys.binding(spec.exchange), self._keys.kombu("binding_deadlines")),
                    (self._member(spec), spec.exchange, max(2 * life_ms, _SHORTEST_LIFE_MS)),
                )

    @property
    def has_expiring(self) -> bool:
        return bool(self._expiring)

    def _member(self, spec: QueueSpec) -> str:
        pattern = topic_pattern(spec.routing_key) if spec.exchange_type == "topic" else ""
        return self._keys.member(spec.routing_key, pattern, spec.name)

    # -- messages -----------------------------------------------------------------------------------------------------

    def sendings(self, messages: Sequence[Outgoing]) -> list[list[Argument]]:
        """For each message the arguments (four for each copy, `lua/_outgoing.lua`) that send it where it belongs.

        Asks the server once when a message names an exchange. Raises `OperationalError` for an exchange without a matching
        binding, `MessageTooLarge`, `EncodeError`.
        """
        tables = self._tables({one.exchange: one.exchange_type == "fanout" for one in messages if one.exchange})
        return [self._sending(one, tables) for one in messages]

    def one_list(self, messages: Sequence[Outgoing]) -> tuple[Argument, list[Argument]] | None:
        """(list, envelopes) when all messages go to one list and nowhere else, by its name; None otherwise."""
        first = messages[0]
        queue, priority = first.routing_key, first.priority
        if first.exchange or queue in self._expiring or queue not in self._noted:
            return None
        raws: list[Argument] = []
        for one in messages:
            if one.exchange or one.due is not None or one.routing_key != queue or one.priority != priority:
                return None
            raw = envelope.encode(one.message)
            if len(raw) >= MAX_ARGUMENT_BYTES:
                return None
            raws.append(raw)
        return self._keys.ready(queue, self._keys.step(priority)), raws

    def unnoted(self, messages: Sequence[Outgoing]) -> list[str]:
        """Queues among the destinations that the store may not have heard of; each is told once."""
        return list({one.routing_key for one in messages if not one.exchange} - self._noted)

    def note(self, names: Iterable[str]) -> None:
        self._noted.update(names)

    def queues_for(self, exchange: str, routing_key: str) -> list[str]:
        """The queues bound to `exchange` for `routing_key`, as the server has it now."""
        return self._matching(self._tables({exchange: False})[exchange], routing_key) if exchange else [routing_key]

    def _tables(self, exchanges: Mapping[str, bool]) -> dict[str, set[bytes]]:
        """The bindings of each exchange as the server has them now; of one that is a fanout, its queues with us."""
        if not exchanges:
            return {}
        names = {
            exchange: self._keys.fanout_queues(exchange) if is_fanout else self._keys.binding(exchange)
            for exchange, is_fanout in exchanges.items()
        }
        replies: list[Reply] = self._connection.pipeline([("SMEMBERS", name) for name in names.values()])
        return {exchange: set(reply) for exchange, reply in zip(names, replies, strict=True)}

    def _matching(self, table: Iterable[bytes], routing_key: str) -> list[str]:
        """A stored pattern decides where there is one, as in Kombu."""
        found: dict[str, None] = {}
        for member in sorted(table):
            key, pattern, queue = member.decode().split(self._keys.separator, 2)
            if (_compiled(pattern).match(routing_key) is not None) if pattern else key == routing_key:
                found[queue] = None
        return list(found)

    def _sending(self, outgoing: Outgoing, tables: Mapping[str, set[bytes]]) -> list[Argument]:
        raw = envelope.encode(outgoing.message)
        if len(raw) >= MAX_ARGUMENT_BYTES:
            limit = MAX_ARGUMENT_BYTES >> 20
            raise MessageTooLarge(f"a message to {outgoing.routing_key!r} has {len(raw)} bytes; Redis takes {limit} MiB")
        arguments: list[Argument] = []
        if not outgoing.exchange:
            queues = [outgoing.routing_key]
        elif outgoing.exchange_type == "fanout":
            queues = sorted(queue.decode() for queue in tables[outgoing.exchange])
            for channel in self._keys.channels(outgoing.exchange, outgoing.routing_key):
                arguments += ("P", channel, "", raw)
        else:
            queues = self._matching(tables[outgoing.exchange], outgoing.routing_key)
            if not queues:
                raise OperationalError(
                    f"exchange {outgoing.exchange!r} has no binding for key {outgoing.routing_key!r} on "
                    f"{self._connection.address.shown}: declare a queue with one"
                )
        for queue in queues:
            arguments += self._to_queue(outgoing, queue, raw)
        return arguments

    def _to_queue(self, outgoing: Outgoing, queue: str, raw: bytes) -> list[Argument]:
        step = self._keys.step(outgoing.priority)
        if outgoing.parked:
            task = storable(outgoing.parked)
            schedule, due = self._keys.parked(queue, task), repr(float(outgoing.due or 0.0))
            return ["D", schedule, due, b"%d:%b" % (step, raw), "S", self._keys.parked_tasks(queue), "", task]
        if outgoing.due is not None:
            return ["D", self._keys.own("delayed." + queue), repr(float(outgoing.due)), b"%d:%b" % (step, raw)]
        return ["L", self._keys.ready(queue, step), "", raw, *self._lives(queue)]

    def _lives(self, queue: str) -> list[Argument]:
        """A queue that expires lives on for its time from each message on."""
        if queue not in self._expiring:
            return []
        life_ms = self._expiring[queue][1]
        return [part for list_key in self._keys.ready_of_all_steps(queue) for part in ("E", list_key, life_ms, "")]


def topic_pattern(routing_key: str) -> str:
    """The regular expression that Kombu stores for a topic binding: `*` is one word, `#` any text."""
    escaped = "".join(char if char.isalnum() or char in ".#*" else "\\" + char for char in routing_key)
    return "^" + r"\.".join(_WORDS.get(word, word) for word in escaped.split(".")) + "$"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _life_ms(spec: QueueSpec) -> int | None:
    value = spec.arguments.get("x-expires")
    return int(value) if isinstance(value, int | float | str) and value else None

"""Calls whose task no worker knew."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sedano.contracts import Parked
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import Argument

_UNPARK = load("unpark")


def unpark(connection: Connection, keys: Keys, tasks: Collection[str], queues: Sequence[str], limit: int) -> int:
    """One round trip where nothing of `tasks` is parked, whatever their number."""
    wanted: set[str] = set()
    for _, task in _tasks(connection, keys, queues):
        if task in tasks:
            wanted.add(task)
    if not wanted:
        return 0
    arguments: list[Argument] = [limit, keys.prefix, keys.separator, keys.own(""), len(queues), *queues, *sorted(wanted)]
    return int(connection.run(_UNPARK, (), arguments))


def counts(connection: Connection, keys: Keys, queues: Sequence[str]) -> list[Parked]:
    found = _tasks(connection, keys, queues)
    if not found:
        return []
    commands: list[tuple[Argument, ...]] = []
    for queue, task in found:
        schedule = keys.parked(queue, task)
        commands += (("ZCARD", schedule), ("ZRANGE", schedule, 0, 0, "WITHSCORES"))
    replies = connection.transaction(commands)
    parked: list[Parked] = []
    for number, (queue, task) in enumerate(found):
        count, first = replies[2 * number], replies[2 * number + 1]
        if count:
            due = first[0][1] if isinstance(first[0], list) else first[1]  # by the version of the protocol
            parked.append(Parked(queue, task, int(count), float(due)))
    return parked


def _tasks(connection: Connection, keys: Keys, queues: Sequence[str]) -> list[tuple[str, str]]:
    """(queue, task) of what may be parked, tasks sorted."""
    if not queues:
        return []
    replies = connection.pipeline([("SMEMBERS", keys.parked_tasks(queue)) for queue in queues])
    return [(queue, task) for queue, found in zip(queues, replies, strict=True) for task in sorted(map(bytes.decode, found))]

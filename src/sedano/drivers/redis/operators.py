"""What operators ask: queues, depths, purge, dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.contracts import DeadLetter, Depth
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.deliveries import letters_of
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import Argument

_DEPTH, _LETTERS, _DROP_DEAD = load("depth"), load("letters"), load("drop_dead")


def letter_keys(keys: Keys) -> tuple[str, str, str, str, str]:
    """letters, prefix of dead., dead_expiry, dead_bytes, letter_id: as the scripts take them."""
    return keys.own("letters"), keys.own("dead."), keys.own("dead_expiry"), keys.own("dead_bytes"), keys.own("letter_id")


def queues(connection: Connection, keys: Keys) -> list[str]:
    """Queues that we declared or sent to, and those that Celery bound to an exchange. Walks through all keys."""
    names = {name.decode() for name in connection.command("SMEMBERS", keys.own("queues"))}
    table = keys.binding("")
    cursor: Argument = 0
    while True:
        cursor, found = connection.command("SCAN", cursor, "MATCH", _escaped(table) + "*", "COUNT", 1000)
        for key in found:
            if not _is_internal(key.decode().removeprefix(table)):
                members = connection.command("SMEMBERS", key)
                names |= {member.decode().rsplit(keys.separator, 1)[-1] for member in members}
        if int(cursor) == 0:
            return sorted(names)


def depth(connection: Connection, keys: Keys, names: Sequence[str], now: float) -> list[Depth]:
    letters, dead, expiry, sizes, _ = letter_keys(keys)
    arguments: list[Argument] = [repr(now), len(keys.steps)]
    for name in names:
        arguments += (name, *keys.ready_of_all_steps(name))
    script_keys = (keys.own("owners"), keys.own("held."), keys.own("delayed."), letters, dead, expiry, sizes, keys.own(""))
    counts = connection.run(_DEPTH, script_keys, arguments)
    return [Depth(name, *map(int, count)) for name, count in zip(names, counts, strict=True)]


def purge(connection: Connection, keys: Keys, queue: str) -> int:
    lists = keys.ready_of_all_steps(queue)
    counts = connection.transaction([*(("LLEN", name) for name in lists), ("DEL", *lists)])
    return sum(counts[:-1])


def dead_letters(
    connection: Connection, keys: Keys, queue: str | None, limit: int, before: str | None, now: float
) -> list[DeadLetter]:
    arguments: list[Argument] = [repr(now), limit, before or "+inf"]
    if queue is not None:
        arguments.append(queue)
    return letters_of(connection.run(_LETTERS, letter_keys(keys)[:4], arguments))


def drop_dead(connection: Connection, keys: Keys, ids: Sequence[str]) -> int:
    return int(connection.run(_DROP_DEAD, letter_keys(keys)[:4], tuple(ids)))


def _is_internal(exchange: str) -> bool:
    """Mailboxes, their replies and events are no queues of calls."""
    return exchange.endswith(".pidbox") or exchange == "celeryev"


def _escaped(pattern: str) -> str:
    return "".join("\\" + char if char in "*?[]\\^" else char for char in pattern)

"""What operators ask: queues, depths, purge, dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.contracts import DeadLetter, Depth
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.deliveries import letters_of
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.wire import Argument, Reply
from sedano.exceptions import OperationalError
from sedano.protocol.waiting import waits_since

_DEPTH, _LETTERS, _DROP_DEAD = load("depth"), load("letters"), load("drop_dead")


def letter_keys(keys: Keys) -> tuple[str, str, str, str, str]:
    """letters, prefix of dead., dead_expiry, dead_bytes, letter_id: as the scripts take them."""
    return keys.own("letters"), keys.own("dead."), keys.own("dead_expiry"), keys.own("dead_bytes"), keys.own("letter_id")


def queues(connection: Connection, keys: Keys) -> list[str]:
    """Queues that we declared or sent to, and those that Celery bound to an exchange. Walks through all keys.

    What other programs keep under such names, and cannot be bindings, is passed over.
    """
    names = {name.decode() for name in connection.command("SMEMBERS", keys.own("queues"))}
    table = keys.binding("")
    cursor: Argument = 0
    while True:
        cursor, found = connection.command("SCAN", cursor, "MATCH", _escaped(table) + "*", "COUNT", 1000, "TYPE", "set")
        for key in found:
            if not _is_internal(key.decode(errors="replace").removeprefix(table)):
                members = connection.command("SMEMBERS", key)
                names.update(name for member in members if (name := _bound(member, keys)) is not None)
        if int(cursor) == 0:
            return sorted(names)


def depth(connection: Connection, keys: Keys, names: Sequence[str], now: float) -> list[Depth]:
    letters, dead, expiry, sizes, _ = letter_keys(keys)
    arguments: list[Argument] = [repr(now), len(keys.steps)]
    for name in names:
        arguments += (name, *keys.ready_of_all_steps(name))
    script_keys = (
        keys.own("owners"),
        keys.own("held."),
        keys.own("delayed."),
        letters,
        dead,
        expiry,
        sizes,
        keys.own(""),
        keys.own("pauses"),
    )
    found = connection.run(_DEPTH, script_keys, arguments)
    return [_depth(connection, name, one, now) for name, one in zip(names, found, strict=True)]


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


def _depth(connection: Connection, name: str, found: Reply, now: float) -> Depth:
    if isinstance(found[0], bytes):
        key, kind = (part.decode(errors="replace") for part in found)
        raise OperationalError(
            f"the key {key!r} on {connection.address.shown} is no list of messages of the queue {name!r} but a {kind}: another "
            "program uses this database. Give Sedano a database or a global_keyprefix of its own, or the queue another name"
        )
    ready, delayed, reserved, begun, dead, parked, paused, heads = found
    since = min((moment for head in heads if (moment := waits_since(head, now)) is not None), default=None)
    return Depth(name, ready, delayed, reserved, begun, dead, parked, since, bool(paused))


def _bound(member: bytes, keys: Keys) -> str | None:
    """The queue of a binding; None for what is none."""
    try:
        parts = member.decode().split(keys.separator)
    except UnicodeDecodeError:
        return None
    return parts[-1] if len(parts) >= 3 else None


def _is_internal(exchange: str) -> bool:
    """Mailboxes, their replies and events are no queues of calls."""
    return exchange.endswith(".pidbox") or exchange == "celeryev"


def _escaped(pattern: str) -> str:
    return "".join("\\" + char if char in "*?[]\\^" else char for char in pattern)

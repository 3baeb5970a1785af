"""What owners hold and what waits for its time, for people's questions: nothing is taken, no script runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sedano.contracts import Delivery, Standing
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.deliveries import delivery_of_record, new_delivery
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.wire import Argument, Reply


def held(connection: Connection, keys: Keys, owners: Sequence[str], limit: int, tags: Collection[str] | None) -> list[Delivery]:
    """Two round trips: where everything stands, then the envelopes of what is wanted."""
    names = list(dict.fromkeys(owners))
    if not names or limit <= 0:
        return []
    wanted = None if tags is None else frozenset(tag.encode(errors="surrogatepass") for tag in tags)
    replies = connection.pipeline([("HGETALL", keys.own("held." + name)) for name in names])
    found = [
        (name, tag, record)
        for name, reply in zip(names, replies, strict=True)
        for tag, record in _pairs(reply)
        if wanted is None or tag in wanted
    ]
    found.sort(key=lambda one: (one[2][:1] in b"rq", int(one[1].rpartition(b":")[2])))
    if not found[:limit]:
        return []
    commands: list[tuple[Argument, ...]] = [("HGET", keys.own("kept." + name), tag) for name, tag, _ in found[:limit]]
    raws = connection.pipeline(commands)
    return [
        delivery_of_record(tag, record, raw)
        for (_, tag, record), raw in zip(found[:limit], raws, strict=True)
        if raw is not None  # settled meanwhile
    ]


def delayed(connection: Connection, keys: Keys, queues: Sequence[str], limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
    names = list(dict.fromkeys(queues))
    if not names:
        return 0, []
    commands: list[tuple[Argument, ...]] = []
    for name in names:
        schedule = keys.own("delayed." + name)
        commands += (("ZCARD", schedule), ("ZRANGE", schedule, 0, max(limit, 1) - 1, "WITHSCORES"))
    replies = connection.pipeline(commands)
    entries = [
        (float(due), name, member) for number, name in enumerate(names) for member, due in _scored(replies[2 * number + 1])
    ]
    entries.sort(key=lambda one: one[0])
    return sum(replies[::2]), [(due, _waiting(name, member)) for due, name, member in entries[:limit]]


def _waiting(queue: str, member: bytes) -> Delivery:
    """A member of a schedule: `<arrival>:<step>:<envelope>`."""
    _, step, raw = member.split(b":", 2)
    return new_delivery("", queue, int(step), raw, Standing.RESERVED)


def _pairs(reply: Reply) -> list[tuple[bytes, bytes]]:
    """What HGETALL gives, by the version of the protocol."""
    return list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2], strict=True))


def _scored(reply: Reply) -> list[tuple[bytes, Reply]]:
    """What ZRANGE WITHSCORES gives, by the version of the protocol."""
    return reply if reply and isinstance(reply[0], list) else list(zip(reply[::2], reply[1::2], strict=True))

"""What became of the moments of entries: read from the lists in which `schedules_fire.lua` keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sedano.contracts import Run
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import ScheduleKeys, storable

_FIRST_LOOK = 8
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[float, float, str | None, str, bool]).decode

Numbered = tuple[int, Run]


def pack_run(run: Run) -> bytes:
    """Without its name, which the key of the list has."""
    task_id = None if run.task_id is None else storable(run.task_id)
    return _encode((float(run.due), float(run.at), task_id, storable(run.reason), run.manual))


def runs_of(connection: Connection, keys: ScheduleKeys, name: str, limit: int) -> list[Run]:
    return [run for _, run in _last(connection, keys, [name], limit)[0]]


def all_runs(connection: Connection, keys: ScheduleKeys, limit: int) -> list[Run]:
    """Only the `limit` entries that ran last can have them; of each more is read as long as more may be among them."""
    if limit <= 0:
        return []
    names = [name.decode() for name in connection.command("ZRANGE", keys.ran, 0, limit - 1, "REV")]
    found: dict[str, list[Numbered]] = {}
    last: list[Numbered] = []
    count = min(_FIRST_LOOK, limit)
    while names:
        found |= zip(names, _last(connection, keys, names, count), strict=True)
        every = (numbered for runs in found.values() for numbered in runs)
        last = sorted(every, key=lambda numbered: -numbered[0])[:limit]
        oldest = last[-1][0] if len(last) == limit else 0
        names = [name for name in names if len(found[name]) == count and found[name][-1][0] > oldest]
        count *= 8
    return [run for _, run in last]


def _last(connection: Connection, keys: ScheduleKeys, names: Sequence[str], count: int) -> list[list[Numbered]]:
    """The last `count` of each, the newest first."""
    if count <= 0:
        return [[] for _ in names]
    replies = connection.pipeline([("LRANGE", keys.runs + name, 0, count - 1) for name in names])
    return [[_run(name, value) for value in reply] for name, reply in zip(names, replies, strict=True)]


def _run(name: str, value: bytes) -> Numbered:
    number, _, packed = value.partition(b":")
    return int(number), Run(name, *_decode(packed))

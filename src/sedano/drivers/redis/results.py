"""Results on Redis, in Celery's keys. Keeps the promises of `contracts/results.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sedano.contracts import ChordPart, ChordReady, ChordStart, ResultWrite
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import ResultKeys
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.sentinel import new_connection
from sedano.drivers.redis.stream import RedisResultStream
from sedano.drivers.redis.turns import CHORD_REMEMBERED_S, CLAIM_S, ResultWriter, milliseconds, part_of
from sedano.drivers.redis.wire import Argument
from sedano.exceptions import ResultsUnavailable

UNSAID_S = 86400.0
"""How long a chord is kept that grows before anything else is said of it."""

_STORE, _START_CHORD, _END_CHORD, _GROW_CHORD = load("store"), load("start_chord"), load("end_chord"), load("grow_chord")


class RedisResults:
    """One connection; a stream opens one of its own."""

    def __init__(self, connection: Connection, keys: ResultKeys, writer: ResultWriter) -> None:
        self._connection = connection
        self._keys = keys
        self._writer = writer

    def store(
        self,
        writes: Sequence[ResultWrite],
        parts: Sequence[ChordPart] = (),
        starts: Sequence[ChordStart] = (),
        *,
        repeated: bool = False,
    ) -> list[ChordReady]:
        """A record that says SUCCESS is not overwritten by another state: of two runs of a call the one that succeeded
        counts, as in Celery. Raises `MessageTooLarge` for a record that no Redis takes."""
        arguments: list[Argument] = [len(writes)]
        for write in writes:
            arguments += self._writer.record(write)
        arguments.append(len(starts))
        for start in starts:
            arguments += self._writer.start(start)
        chords = {part.group_id: part for part in parts}
        numbers = {group_id: number for number, group_id in enumerate(chords, 1)}
        arguments += ("1" if repeated else "0", len(chords))
        for part in chords.values():
            arguments += self._writer.chord(part)
        arguments.append(len(parts))
        for part in parts:
            arguments += (numbers[part.group_id], *part_of(part))
        return self._writer.ready(self._connection.run(_STORE, (), arguments), parts)

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        if not task_ids:
            return []
        records: list[bytes | None] = self._connection.command("MGET", *map(self._keys.record, task_ids))
        return records

    def forget(self, task_ids: Sequence[str]) -> int:
        return int(self._connection.command("DEL", *map(self._keys.record, task_ids))) if task_ids else 0

    def save_group(self, group_id: str, payload: bytes, ttl_s: float | None) -> None:
        """Where Celery has it: the stem of a chord's keys is free for it."""
        ends = () if ttl_s is None else ("PX", milliseconds(ttl_s))
        self._connection.command("SET", self._keys.group(group_id), payload, *ends)

    def fetch_group(self, group_id: str) -> bytes | None:
        payload: bytes | None = self._connection.command("GET", self._keys.group(group_id))
        return payload

    def forget_group(self, group_id: str) -> None:
        self._connection.command("DEL", self._keys.group(group_id))

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> ChordReady | None:
        arguments = (size, milliseconds(ttl_s), CLAIM_S)
        is_ready = self._connection.run(_START_CHORD, (self._keys.group(group_id),), arguments)
        return ChordReady(group_id) if is_ready else None

    def grow_chord(self, group_id: str, by: int, tag: str) -> None:
        self._connection.run(_GROW_CHORD, (self._keys.group(group_id),), (by, milliseconds(UNSAID_S), tag))

    def chord_parts(self, group_id: str) -> list[bytes]:
        key = self._keys.group(group_id) + ".j"
        is_list = self._connection.command("TYPE", key) == b"list"
        parts: list[bytes] = self._connection.command("LRANGE" if is_list else "ZRANGE", key, 0, -1)
        return parts

    def end_chord(self, group_id: str) -> None:
        self._connection.run(_END_CHORD, (self._keys.group(group_id),), (CHORD_REMEMBERED_S,))

    def subscribe(self) -> RedisResultStream:
        stream = RedisResultStream(new_connection(self._connection.address, ResultsUnavailable), self._keys)
        stream.connect()
        return stream

    def expire(self, now: float) -> int:  # noqa: ARG002 - Redis does it by itself
        return 0

    def reconnect(self) -> None:
        self._connection.close()
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

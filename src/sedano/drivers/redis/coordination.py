"""Locks, revokes, pauses and rates on Redis, by the server's clock. Keeps the promises of `contracts/coordination.py`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sedano.contracts import Pause, Revoke, Throttled
from sedano.drivers.redis.connection import Connection
from sedano.drivers.redis.keys import Keys
from sedano.drivers.redis.scripts import load
from sedano.drivers.redis.turns import milliseconds
from sedano.drivers.redis.wire import Argument
from sedano.rules.rates import BURST_S, GRACE_S, LOOK_AGAIN_S, SHORTEST_LOOK_S, horizon_s

_REVOKE, _REVOKES, _ACQUIRE, _RELEASE_LOCK = load("revoke"), load("revokes"), load("acquire"), load("release_lock")
_PAUSE, _RESUME, _THROTTLE = load("pause"), load("resume"), load("throttle")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Revoke)
_pause_decoder = msgspec.msgpack.Decoder(Pause)


class RedisCoordination:
    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._revoke_keys = (keys.own("revoked"), keys.own("revoke_orders"), keys.own("revision"))
        self._pause_keys = (keys.own("pauses"), keys.own("paused"))

    # -- revokes ------------------------------------------------------------------------------------------------------

    def revoke(self, orders: Sequence[Revoke], *, keep_s: float) -> int:
        arguments: list[Argument] = [milliseconds(keep_s)]
        for order in orders:
            arguments += (order.task_id, _encoder.encode(order))
        return int(self._connection.run(_REVOKE, self._revoke_keys, arguments))

    def revokes(self) -> tuple[int, list[Revoke]]:
        revision, *flat = self._connection.run(_REVOKES, self._revoke_keys, ())
        return int(revision), [_decoder.decode(flat[i + 1]) for i in range(0, len(flat), 2) if flat[i + 1]]

    def revision(self) -> int:
        return int(self._connection.command("GET", self._keys.own("revision")) or 0)

    # -- pauses -------------------------------------------------------------------------------------------------------

    def pause(self, pauses: Sequence[Pause]) -> None:
        if pauses:
            arguments = [part for pause in pauses for part in (pause.queue, _encoder.encode(pause))]
            self._connection.run(_PAUSE, self._pause_keys, arguments)

    def resume(self, queues: Sequence[str]) -> list[str]:
        resumed = self._connection.run(_RESUME, self._pause_keys, tuple(queues))
        return [name.decode() for name in resumed]

    def pauses(self) -> list[Pause]:
        records = self._connection.command("HVALS", self._pause_keys[0])
        return sorted(map(_pause_decoder.decode, records), key=lambda pause: pause.queue)

    # -- rate limits --------------------------------------------------------------------------------------------------

    def throttle(self, name: str, per_s: float, *, returns: bool = False) -> Throttled:
        looks = (LOOK_AGAIN_S, SHORTEST_LOOK_S)
        arguments = (repr(per_s), int(returns), BURST_S, horizon_s(1.0 / per_s), *looks, GRACE_S)
        wait, is_far = self._connection.run(_THROTTLE, (self._keys.own("rate." + name),), arguments)
        return Throttled(float(wait), bool(is_far))

    # -- locks --------------------------------------------------------------------------------------------------------

    def acquire(self, name: str, owner: str, *, ttl_s: float) -> int | None:
        keys = (self._keys.own("lock." + name), self._keys.own("term." + name))
        term = self._connection.run(_ACQUIRE, keys, (owner, milliseconds(ttl_s)))
        return None if term is None else int(term)

    def release_lock(self, name: str, owner: str) -> bool:
        return bool(self._connection.run(_RELEASE_LOCK, (self._keys.own("lock." + name),), (owner,)))

    def holder(self, name: str) -> tuple[str, int] | None:
        owner, term = self._connection.command("HMGET", self._keys.own("lock." + name), "owner", "term")
        return None if owner is None else (owner.decode(), int(term))

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._connection.close()
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()

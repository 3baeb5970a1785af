"""Short words for the tests of the redis driver: connections that are closed with the test, and what stands in the keys."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, Self

from tests.servers import RedisServer

from sedano.contracts import Lease, OpenOptions
from sedano.drivers import redis
from sedano.drivers.redis.broker import RedisBroker
from sedano.drivers.redis.bus import RedisBus
from sedano.drivers.redis.coordination import RedisCoordination
from sedano.drivers.redis.results import RedisResults
from sedano.drivers.redis.schedules import RedisSchedules

QUEUE = "celery"


class World:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._open = ExitStack()
        self._names = iter(range(1_000_000))

    def broker(self, db: int = 0, *, results_db: int | None = 0, **options: Any) -> RedisBroker:
        results_url = None if results_db is None else self.server.url_of(results_db)
        broker = redis.open_broker(self.server.url_of(db), OpenOptions(results_url=results_url, **options))
        self._open.callback(broker.close)
        return broker

    def results(self, db: int = 0, **options: Any) -> RedisResults:
        results = redis.open_results(self.server.url_of(db), OpenOptions(**options))
        self._open.callback(results.close)
        return results

    def bus(self, **options: Any) -> RedisBus:
        bus = redis.open_bus(self.server.url, OpenOptions(**options))
        self._open.callback(bus.close)
        return bus

    def coordination(self, **options: Any) -> RedisCoordination:
        coordination = redis.open_coordination(self.server.url, OpenOptions(**options))
        self._open.callback(coordination.close)
        return coordination

    def schedules(self, space: str = "proj", **options: Any) -> RedisSchedules:
        schedules = redis.open_schedules(self.server.url, OpenOptions(**options), space)
        self._open.callback(schedules.close)
        return schedules

    def lease(self, broker: RedisBroker, name: str = "celery@host/0/77") -> Lease:
        return broker.register(f"{name}/{next(self._names)}", "celery@host")

    def closing(self, thing: Any) -> Any:
        self._open.callback(thing.close)
        return thing

    # -- what stands in the keys --------------------------------------------------------------------------------------

    def command(self, *words: str | bytes | int) -> Any:
        return self.server.command(*words)

    def hash(self, key: str) -> dict[str, bytes]:
        flat = self.command("HGETALL", key)
        return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}

    def unacked(self) -> dict[str, list[Any]]:
        """tag -> [envelope, exchange, routing key], as Kombu would read them."""
        return {tag: json.loads(value) for tag, value in self.hash("unacked").items()}

    def list(self, key: str) -> list[dict[str, Any]]:
        """The envelopes of a list, the next to be taken first."""
        return [json.loads(item) for item in reversed(self.command("LRANGE", key, 0, -1))]

    def all_keys(self) -> set[str]:
        return {key.decode() for key in self.command("KEYS", "*")}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

"""Hears events as they are on a Redis: what anybody published, by no engine's code."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

import redis
from tests.servers import RedisServer

from sedano.testing.node import Node

Event = dict[str, Any]
PATIENCE_S = 60.0
ENDS = ("task-succeeded", "task-failed", "task-rejected", "task-revoked")


class Eavesdropper:
    """Collects what is published as events, from the constructor's return to `close`. Other messages are passed over."""

    def __init__(self, server: RedisServer, db: int = 0) -> None:
        self._redis: Any = redis.Redis(unix_socket_path=str(server.socket))
        self._heard: Any = self._redis.pubsub()
        self._heard.psubscribe(f"/{db}.celeryev*")
        while self._heard.get_message(timeout=1.0) is None:
            continue
        self._changed = threading.Condition()
        self._closed = False
        self.events: list[Event] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed:
            message = self._heard.get_message(timeout=0.1)
            if message is None:
                continue
            try:
                body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
            except (ValueError, KeyError, TypeError):
                continue
            with self._changed:
                self.events += [event for event in (body if isinstance(body, list) else [body]) if isinstance(event, dict)]
                self._changed.notify_all()

    def until(self, claim: Callable[[list[Event]], Any], seconds: float = PATIENCE_S) -> Any:
        """The first true answer of `claim` to all that was heard."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (answer := claim(self.events)):
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    last = [(event.get("hostname"), event.get("type"), event.get("uuid")) for event in self.events[-40:]]
                    raise AssertionError(f"not heard; of {len(self.events)} events the last were {last}")
            return answer

    def beats(self) -> Counter[str]:
        """How many heartbeats of each node were heard."""
        with self._changed:
            return Counter(event["hostname"] for event in self.events if event["type"] == "worker-heartbeat")

    def until_beats(self, nodes: Mapping[str, Node], more: int = 1) -> None:
        """Until `more` heartbeats of each were heard from now on. A node that has ended is not waited for."""
        before = self.beats()

        def silent() -> list[str]:
            heard = self.beats()
            return [name for name in nodes if heard[name] - before[name] < more]

        deadline = time.monotonic() + PATIENCE_S
        while left := silent():
            ended = {name: code for name in left if (code := nodes[name].process.poll()) is not None}
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f"the end of the log of {name}:\n{nodes[name].log()[-3000:]}" for name in left)
                raise AssertionError(f"no heartbeat of {left}, of which have ended: {ended}; heard were {self.beats()}\n{logs}")
            with self._changed:
                self._changed.wait(0.1)

    def life(self, task_id: str) -> list[Event]:
        """The events of one call, in the order in which they came."""
        with self._changed:
            return [event for event in self.events if event.get("uuid") == task_id]

    def until_told(self, kind: str, task_id: str) -> Event:
        found: Event = self.until(lambda heard: next((e for e in heard if (e["type"], e.get("uuid")) == (kind, task_id)), None))
        return found

    def until_over(self, ids: set[str]) -> None:
        """Until an end was told of each of these calls."""
        self.until(lambda heard: ids <= {event.get("uuid") for event in heard if event["type"] in ENDS})

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        self._heard.close()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

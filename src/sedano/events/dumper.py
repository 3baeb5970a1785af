"""Every event as a line of text, in Celery's words."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sedano.events.lru import LRUCache
from sedano.events.ports import app_or_current
from sedano.exceptions import OperationalError
from sedano.rules.retry import reconnect_intervals

__all__ = ["Dumper", "evdump"]

TASK_NAMES: LRUCache[str, str] = LRUCache(0xFFF)
"""uuid -> what was shown of a call when it was sent or received."""

_HUMAN = {"worker-offline": "shutdown", "worker-online": "started", "worker-heartbeat": "heartbeat"}


def humanize_type(type: str) -> str:  # noqa: A002 - Celery's name
    """ "task failed" for "task-failed"."""
    return _HUMAN.get(type.lower()) or type.lower().replace("-", " ")


class Dumper:
    """Writes to `out`; use `on_event` as a handler."""

    def __init__(self, out: Any = None) -> None:
        self.out = sys.stdout if out is None else out

    def say(self, msg: str) -> None:
        print(msg, file=self.out)
        if hasattr(self.out, "flush"):
            self.out.flush()

    def on_event(self, ev: dict[str, Any]) -> None:
        """Write a line, and one for each line of a traceback; an event that lacks what all have is left out."""
        rest = dict(ev)
        kind, hostname = str(rest.pop("type", "")).lower(), rest.pop("hostname", "?")
        moment = _moment(rest.pop("timestamp", None))
        if not kind.startswith("task-"):
            self._write(hostname, moment, kind, "", rest)
            return
        uuid = str(rest.pop("uuid", "?"))
        if kind in ("task-received", "task-sent"):
            task = f"{rest.pop('name', None)}({uuid}) args={rest.pop('args', None)} kwargs={rest.pop('kwargs', None)}"
            TASK_NAMES[uuid] = task
        else:
            task = TASK_NAMES.get(uuid, "")
        self.format_task_event(hostname, moment, kind, task, rest)

    def format_task_event(self, hostname: str, timestamp: Any, type: str, task: str, event: dict[str, Any]) -> None:  # noqa: A002
        self._write(hostname, timestamp, type, f"{task} ", event)

    def _write(self, hostname: str, moment: Any, kind: str, before: str, rest: dict[str, Any]) -> None:
        fields = ", ".join(f"{name}={rest[name]}" for name in sorted(rest, key=str))
        self.say(f"{hostname} [{moment}] {humanize_type(kind)}{':' if fields else ''} {before}{fields}")


def evdump(
    app: Any = None,
    out: Any = None,
    settled: Callable[[], None] | None = None,
    *,
    write: Callable[[dict[str, Any]], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Write every event until interrupted. A broker that goes away is waited for.

    `write` is given each event instead of `out`, `say` the words about the capture itself.
    """
    app = app_or_current(app)
    dumper = Dumper(out)
    write, say = write or dumper.on_event, say or dumper.say
    say("-> evdump: starting capture...")
    waits = reconnect_intervals()
    if settled is not None:
        settled()
    while True:
        try:
            with app.connection_for_read() as connection:
                for _ in app.events.Receiver(connection, handlers={"*": write}).itercapture():
                    waits = reconnect_intervals()
                return
        except (KeyboardInterrupt, SystemExit):
            return
        except OperationalError as exc:
            wait_s = next(waits)
            say(f"-> Cannot connect: {exc}.\nTrying again in {wait_s:.2f} seconds...\n")
            try:
                time.sleep(wait_s)
            except KeyboardInterrupt:
                return


def _moment(timestamp: Any) -> Any:
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return timestamp

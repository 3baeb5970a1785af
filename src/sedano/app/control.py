"""`app.control`: ask and tell the nodes. So far `ping`, `revoke`, `terminate` and `inspect().ping()`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sedano.clock import SYSTEM_CLOCK
from sedano.contracts.coordination import Revoke
from sedano.exceptions import UnreadableMessage
from sedano.protocol.control import ReplyTo, read_reply, request
from sedano.protocol.ids import new_id

if TYPE_CHECKING:
    from sedano.app.base import Celery

_DEFAULT_TIMEOUT_S = 1.0
_KEEP_REVOKED_S = 10800.0


class LamportClock:
    """A logical clock: `forward` for what one does, `adjust` for what one hears."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self._lock = threading.Lock()

    def forward(self) -> int:
        with self._lock:
            self.value += 1
            return self.value

    def adjust(self, other: int) -> int:
        with self._lock:
            self.value = max(self.value, other) + 1
            return self.value


class Control:
    """Broadcasts commands to nodes and collects what they answer."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | str | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
        limit: int | None = None,
        callback: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra: Any,
    ) -> list[dict[str, Any]] | None:
        """Send `command`; with `reply`, wait up to `timeout` seconds (or for all of `destination`) for `{node: answer}`s."""
        del connection
        nodes = [destination] if isinstance(destination, str) else list(destination) if destination is not None else None
        wait_s = _DEFAULT_TIMEOUT_S if timeout is None else timeout
        with closing(self.app.stores.open_bus()) as bus:
            if not reply:
                bus.broadcast(self._request(command, {**(arguments or {}), **extra}, nodes, pattern, matcher, None, wait_s))
                return None
            oid = new_id()
            with closing(bus.open_replies(oid)) as mailbox:
                bus.broadcast(self._request(command, {**(arguments or {}), **extra}, nodes, pattern, matcher, oid, wait_s))
                wanted = limit if limit is not None else len(nodes) if nodes is not None else None
                return self._collect(mailbox, wait_s, wanted, callback)

    def ping(self, destination: Any = None, timeout: float = _DEFAULT_TIMEOUT_S, **kwargs: Any) -> list[dict[str, Any]]:
        """[{node: {"ok": "pong"}}] of those that answer in time."""
        return self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **kwargs) or []

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Any = None,
        terminate: bool = False,
        signal: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Do not run these calls; `terminate` also ends them where they run, with `signal`.

        The order is kept in the store, for nodes that start or come back later, and told to the nodes that listen now,
        Celery's among them.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        name = signal_name(signal)
        if destination is None:
            with closing(self.app.stores.open_coordination()) as coordination:
                coordination.revoke([Revoke(id_, terminate, name) for id_ in ids], keep_s=_KEEP_REVOKED_S)
        arguments = {"task_id": task_id if isinstance(task_id, str) else ids, "terminate": terminate, "signal": name}
        return self.broadcast("revoke", arguments, destination=destination, **kwargs)

    def terminate(self, task_id: Any, destination: Any = None, signal: Any = None, **kwargs: Any) -> Any:
        """`revoke` with `terminate=True`."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def purge(self, connection: Any = None) -> int:
        """Drop what waits in the queues of this app; returns how many messages."""
        del connection
        with closing(self.app.stores.open_broker(write=True)) as broker:
            return sum(broker.purge(name) for name in self.app.amqp.queues.consume_from)

    discard_all = purge

    def inspect(self, destination: Any = None, timeout: float = _DEFAULT_TIMEOUT_S, **kwargs: Any) -> Inspect:
        """Questions to the nodes of `destination`, or to all."""
        return Inspect(destination, timeout, app=self.app, **kwargs)

    def _request(
        self, command: str, arguments: Mapping[str, Any], nodes: Any, pattern: Any, matcher: Any, oid: str | None, wait_s: float
    ) -> Any:
        clock = self.app.clock.forward()
        mailbox = f"{self.app.conf.typed('control_exchange')}.pidbox"
        where = None if oid is None else ReplyTo(f"reply.{mailbox}", oid)
        return request(
            command,
            arguments,
            destination=nodes,
            pattern=pattern,
            matcher=matcher,
            ticket=None if oid is None else new_id(),
            reply_to=where,
            clock=clock,
            expires=SYSTEM_CLOCK.wall() + wait_s if oid is not None else 0.0,
            exchange=mailbox,
            serializer=self.app.conf.typed("task_serializer"),
        )

    def _collect(self, mailbox: Any, wait_s: float, wanted: int | None, callback: Any) -> list[dict[str, Any]]:
        deadline = time.monotonic() + wait_s
        replies: list[dict[str, Any]] = []
        while wanted is None or len(replies) < wanted:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            for message in mailbox.receive(left_s):
                try:
                    answer = read_reply(message, self.app.accept_content)
                except UnreadableMessage:
                    continue
                self.app.clock.adjust(answer.clock)
                replies.append(answer.values)
                if callback is not None:
                    callback(answer.values)
        return replies


class Inspect:
    """Questions to nodes; answers as one map {node: answer}, or None when nobody answered."""

    def __init__(
        self,
        destination: Sequence[str] | str | None = None,
        timeout: float = _DEFAULT_TIMEOUT_S,
        callback: Any = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app
        self.destination, self.timeout, self.callback, self.limit = destination, timeout, callback, limit
        self.pattern, self.matcher = pattern, matcher
        del connection

    def ping(self, destination: Any = None) -> dict[str, Any] | None:
        """{node: {"ok": "pong"}}"""
        replies = self.app.control.broadcast(
            "ping",
            reply=True,
            destination=self.destination if destination is None else destination,
            timeout=self.timeout,
            callback=self.callback,
            limit=self.limit,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        return flatten_reply(replies) if replies else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotImplementedError(f"inspect().{name}() is not built yet; so far there is ping()")


def flatten_reply(reply: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """[{node: answer}, ...] as one map."""
    flat: dict[str, Any] = {}
    for item in reply:
        flat.update(item)
    return flat


def signal_name(signal: Any) -> str:
    """ "SIGTERM" for None, 15, "TERM", "SIGTERM" or signal.SIGTERM. Raises ValueError for what is no signal."""
    if signal is None:
        return "SIGTERM"
    import signal as signals  # noqa: PLC0415 - makes four enums, which no plain import of Sedano has to pay for

    if isinstance(signal, int):
        return signals.Signals(signal).name
    name = str(signal).upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name not in signals.Signals.__members__:
        raise ValueError(f"{signal!r} is no signal; use a name such as SIGTERM or SIGKILL")
    return name

"""`app.control`: tell the nodes what to do, and collect what they answer. Questions stand in `inspecting.py`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sedano.app import inspecting
from sedano.app.inspecting import Inspect, flatten_reply
from sedano.app.queuecontrol import QueueControl
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts.coordination import Revoke, stamp_orders, stamps_of
from sedano.exceptions import CeleryError, UnreadableMessage
from sedano.log import get_logger
from sedano.protocol.control import ReplyTo, read_reply, request
from sedano.protocol.ids import new_id

if TYPE_CHECKING:
    from sedano.app.base import Celery

__all__ = ["Control", "Inspect", "flatten_reply", "signal_name"]

logger = get_logger(__name__)

_DEFAULT_TIMEOUT_S = 1.0
_KEEP_REVOKED_S = 10800.0


class Control(QueueControl):
    """Broadcasts commands to nodes and collects what they answer.

    Every command takes `destination` (node names) and passes `reply`, `timeout`, `limit`, `callback`, `pattern` and `matcher`
    on to `broadcast`: with `reply=True` it returns [{node: answer}, ...], else None.
    """

    Inspect = inspecting.Inspect

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
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra: Any,
    ) -> list[dict[str, Any]] | None:
        """Send `command`; with `reply`, collect [{node: answer}, ...].

        It waits up to `timeout` seconds, and no longer than until `limit` nodes, all of `destination`, or all that heard the
        command have answered. Raises ValueError for a destination that is no list of names.
        """
        del connection, channel
        nodes = _node_names(destination)
        values = {**(arguments or {}), **extra}
        wait_s = _DEFAULT_TIMEOUT_S if timeout is None else timeout
        with closing(self.app.stores.open_bus()) as bus:
            if not reply:
                bus.broadcast(self._request(command, values, nodes, pattern, matcher, None, wait_s))
                return None
            oid = new_id()
            with closing(bus.open_replies(oid)) as mailbox:
                heard = bus.broadcast(self._request(command, values, nodes, pattern, matcher, oid, wait_s))
                wanted = limit
                if wanted is None and nodes:
                    wanted = len(nodes)
                elif wanted is None and not pattern:
                    wanted = heard
                return self._collect(mailbox, wait_s, wanted, callback)

    # -- questions ----------------------------------------------------------------------------------------------------

    def ping(self, destination: Any = None, timeout: float = _DEFAULT_TIMEOUT_S, **kwargs: Any) -> list[dict[str, Any]]:
        """[{node: {"ok": "pong"}}] of those that answer in time."""
        return self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **kwargs) or []

    def inspect(self, destination: Any = None, timeout: float = _DEFAULT_TIMEOUT_S, **kwargs: Any) -> inspecting.Inspect:
        """Questions to the nodes of `destination`, or to all."""
        return self.Inspect(destination, timeout, app=self.app, **kwargs)

    # -- calls --------------------------------------------------------------------------------------------------------

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
            self._keep([Revoke(id_, terminate, name) for id_ in ids])
        arguments = {"task_id": task_id if isinstance(task_id, str) else ids, "terminate": terminate, "signal": name}
        return self.broadcast("revoke", arguments, destination=destination, **kwargs)

    def terminate(self, task_id: Any, destination: Any = None, signal: Any = None, **kwargs: Any) -> Any:
        """`revoke` with `terminate=True`."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], destination: Any = None, terminate: bool = False, signal: Any = None, **kwargs: Any
    ) -> Any:
        """`revoke` for all calls that bear one of these stamps: {header: value or values}; kept in the store as ids are.

        Raises TypeError for what is no such map.
        """
        given, name = stamps_of(headers), signal_name(signal)
        if destination is None:
            self._keep([Revoke(order, terminate, name) for order in stamp_orders(given)])
        arguments = {"headers": given, "terminate": terminate, "signal": name}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination=destination, **kwargs)

    def _keep(self, orders: Sequence[Revoke]) -> None:
        """Where each host has a store of its own, the nodes that hear the command keep it too: a sender need not have one."""
        stores = self.app.stores
        try:
            with closing(stores.open_coordination()) as coordination:
                coordination.revoke(orders, keep_s=_KEEP_REVOKED_S)
        except CeleryError as exc:
            if not stores.agrees_on_host:
                raise
            logger.warning("the order to revoke is told to the nodes that listen now, and not kept here: %s", exc)

    def purge(self, connection: Any = None) -> int:
        """Drop what waits in the queues of this app; returns how many messages."""
        del connection
        with closing(self.app.stores.open_broker(write=True)) as broker:
            return sum(broker.purge(name) for name in self.app.amqp.queues.consume_from)

    discard_all = purge

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:  # noqa: A002 - Celery's word
        """Let the nodes elect one of them to do `action`."""
        self.broadcast("election", {"id": id, "topic": topic, "action": action}, destination=None, connection=connection)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def rate_limit(self, task_name: str, rate_limit: int | str | None, destination: Any = None, **kwargs: Any) -> Any:
        """Another rate limit for a task: "10/m", calls a second, or 0 for none."""
        return self.broadcast(
            "rate_limit", {"task_name": task_name, "rate_limit": rate_limit}, destination=destination, **kwargs
        )

    def time_limit(
        self, task_name: str, soft: float | None = None, hard: float | None = None, destination: Any = None, **kwargs: Any
    ) -> Any:
        """Other time limits (s) for a task."""
        return self.broadcast(
            "time_limit", {"task_name": task_name, "hard": hard, "soft": soft}, destination=destination, **kwargs
        )

    # -- nodes --------------------------------------------------------------------------------------------------------

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Consume one more queue."""
        arguments = {"queue": queue, "exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        return self.broadcast("add_consumer", {**arguments, **(options or {})}, destination=destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Any:
        """Consume a queue no longer."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination=destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Send events about tasks."""
        return self.broadcast("enable_events", {}, destination=destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Send no events about tasks any more."""
        return self.broadcast("disable_events", {}, destination=destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Any:
        """Send a heartbeat event now."""
        return self.broadcast("heartbeat", {}, destination=destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Run `n` more calls at once."""
        return self.broadcast("pool_grow", {"n": n}, destination=destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Run `n` fewer calls at once."""
        return self.broadcast("pool_shrink", {"n": n}, destination=destination, **kwargs)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Replace the processes of the pool, after importing `modules`; needs `worker_pool_restarts`."""
        arguments = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments, destination=destination, **kwargs)

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> Any:  # noqa: A002 - Celery's words
        """Other limits for a node that was started with --autoscale."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination=destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Any:
        """Stop the nodes, warm."""
        return self.broadcast("shutdown", {}, destination=destination, **kwargs)

    # -- messages -----------------------------------------------------------------------------------------------------

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


def _node_names(destination: Any) -> list[str] | None:
    if destination is None:
        return None
    if isinstance(destination, str):
        return [destination]
    if isinstance(destination, list | tuple | set | frozenset) and all(isinstance(name, str) for name in destination):
        return list(destination)
    raise ValueError(f"destination must be a node name or a list of node names, not {destination!r}")


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

"""`app.control.inspect()`: questions to the nodes, with Celery's names and answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sedano.exceptions import DuplicateNodenameWarning
from sedano.protocol.control import matches


class Inspect:
    """Questions to the nodes of `destination`, or to all; each method returns {node: answer}, or None when nobody answered.

    With one name (a text) as `destination`, just the answer of that node. It waits `timeout` seconds at most, no longer than
    until every node that heard the question has answered (as far as the store can tell how many did).
    """

    def __init__(
        self,
        destination: Sequence[str] | str | None = None,
        timeout: float = 1.0,
        callback: Any = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app
        self.destination, self.timeout, self.callback, self.limit = destination, timeout, callback, limit
        self.connection, self.pattern, self.matcher = connection, pattern, matcher

    def _request(self, command: str, destination: Any = None, **arguments: Any) -> Any:
        return self._prepare(
            self.app.control.broadcast(
                command,
                arguments=arguments,
                destination=self.destination if destination is None else destination,
                callback=self.callback,
                connection=self.connection,
                limit=self.limit,
                timeout=self.timeout,
                reply=True,
                pattern=self.pattern,
                matcher=self.matcher,
            )
        )

    def _prepare(self, replies: Sequence[Mapping[str, Any]] | None) -> Any:
        if not replies:
            return None
        by_node = flatten_reply(replies)
        if isinstance(self.destination, str):
            return by_node.get(self.destination)
        if self.pattern:
            return {node: answer for node, answer in by_node.items() if matches(node, self.pattern, self.matcher)}
        return by_node

    def report(self) -> Any:
        """{node: {"ok": text}}: what helps in a bug report."""
        return self._request("report")

    def clock(self) -> Any:
        """{node: {"clock": n}}: the logical clocks."""
        return self._request("clock")

    def active(self, safe: bool | None = None) -> Any:
        """{node: [call, ...]} of what runs now; `safe` shows arguments as text."""
        return self._request("active", safe=safe)

    def scheduled(self, safe: bool | None = None) -> Any:
        """{node: [{"eta", "priority", "request": call}, ...]} of what waits for its time."""
        del safe
        return self._request("scheduled")

    def reserved(self, safe: bool | None = None) -> Any:
        """{node: [call, ...]} of what is taken from a queue and does not run yet."""
        del safe
        return self._request("reserved")

    def stats(self) -> Any:
        """{node: {...}}: totals, pool, broker, resources."""
        return self._request("stats")

    def revoked(self) -> Any:
        """{node: [id, ...]}"""
        return self._request("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """{node: [name, ...]}; with attributes of tasks to show beside the names."""
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: Any = None) -> Any:
        """{node: {"ok": "pong"}}"""
        return self._request("ping", destination)

    def active_queues(self) -> Any:
        """{node: [queue, ...]} of what each node consumes."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """{node: {id: [state, call]}} of those calls that a node has; ids one by one, or as one list."""
        if len(ids) == 1 and isinstance(ids[0], list | tuple):
            ids = tuple(ids[0])
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> Any:
        """{node: {setting: value}}, secrets masked."""
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """{node: {"clock": n, "revoked": [...]}}: what nodes say to one that starts."""
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """{node: text or None}: memory in use now."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """{node: text or None}: the last samples of memory."""
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:  # noqa: A002 - Celery's word
        """Celery's picture of objects; our nodes answer that there is none."""
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)


def flatten_reply(reply: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """[{node: answer}, ...] as one map; warns when two nodes have one name."""
    flat: dict[str, Any] = {}
    double: set[str] = set()
    for item in reply:
        double.update(name for name in item if name in flat)
        flat.update(item)
    if double:
        warnings.warn(
            DuplicateNodenameWarning(
                f"More than one node is called {', '.join(sorted(double))}: give each its own name (-n), or commands reach both"
                " and their answers mix."
            ),
            stacklevel=3,
        )
    return flat

"""The tree of calls below a result: those that it sent, those that they sent, and so on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from sedano.exceptions import IncompleteStream


def walk(result: Any, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
    """(parent, result) for `result` and all below it, breadth first.

    Raises IncompleteStream at one that has not ended, because its children are not known; `intermediate` goes on.
    """
    waiting: deque[tuple[Any, Any]] = deque([(None, result)])
    while waiting:
        parent, node = waiting.popleft()
        yield parent, node
        if node.ready():
            waiting.extend((node, child) for child in node.children or ())
        elif not intermediate:
            raise IncompleteStream(f"call {node.id} has not ended: what it sends is not known yet")


def collect(result: Any, intermediate: bool, **options: Any) -> Iterator[tuple[Any, Any]]:
    """(result, value) for `result` and all below it, each waited for with `get(**options)`."""
    for _, node in walk(result, intermediate):
        yield node, node.get(**options)

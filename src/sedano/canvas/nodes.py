"""The results that a workflow will have, as plain data: `app` makes `AsyncResult` and `GroupResult` of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


class Node(msgspec.Struct, gc=False):
    """One result: of a call, or of a group when `members` is not None. `parent` is what ran before it."""

    id: str
    parent: Node | None = None
    members: list[Node] | None = None

    def ancestors(self) -> Iterator[Node]:
        """Itself, its parent, and so on."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def first(self) -> Node:
        """The oldest of its ancestors."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def as_tuple(self) -> list[Any]:
        """Celery's form of a result (wire-protocol 6.1): `[[id, parent], members]`."""
        parent: list[Any] | None = None
        for node in reversed(list(self.ancestors())):
            members = None if node.members is None else [member.as_tuple() for member in node.members]
            parent = [[node.id, parent], members]
        assert parent is not None
        return parent

"""A map that holds so many, and forgets what nobody asked for the longest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(MutableMapping[K, V]):
    """`limit` None or 0: no end. Reading one by its key makes it the newest; going over all of them, or `data[key]`, does not.

    Any thread may use it. `keys`, `values` and `items` are lists of the moment, so others may go on writing meanwhile.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.data: OrderedDict[K, V] = OrderedDict()
        self.mutex = threading.RLock()

    def __getitem__(self, key: K) -> V:
        with self.mutex:
            value = self.data[key]
            self.data.move_to_end(key)
            return value

    def __setitem__(self, key: K, value: V) -> None:
        with self.mutex:
            if key not in self.data and self.limit and len(self.data) >= self.limit:
                self.data.popitem(last=False)
            self.data[key] = value

    def __delitem__(self, key: K) -> None:
        with self.mutex:
            del self.data[key]

    def __contains__(self, key: object) -> bool:
        return key in self.data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[K]:
        return iter(self.keys())

    def keys(self) -> list[K]:  # type: ignore[override]  # a list of the moment, not a view
        with self.mutex:
            return list(self.data)

    def values(self) -> list[V]:  # type: ignore[override]
        with self.mutex:
            return list(self.data.values())

    def items(self) -> list[tuple[K, V]]:  # type: ignore[override]
        with self.mutex:
            return list(self.data.items())

    def clear(self) -> None:
        with self.mutex:
            self.data.clear()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.data)!r}, limit={self.limit})"

    def __getstate__(self) -> dict[str, Any]:
        with self.mutex:
            return {**{name: value for name, value in vars(self).items() if name != "mutex"}, "data": self.data.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.mutex = threading.RLock()

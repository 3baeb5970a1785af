"""`celery.utils.collections`: maps and sets that programs of Celery's users take."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from sedano.compat.celery_utils_objects import AttributeDict
from sedano.events.lru import LRUCache


class DictAttribute(MutableMapping[str, Any]):
    """The attributes of an object as a map."""

    obj: Any

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __delitem__(self, key: str) -> None:
        try:
            delattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and hasattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    def __len__(self) -> int:
        return len(dir(self.obj))


class ConfigurationView(MutableMapping[str, Any]):
    """Changes before defaults; each key is looked for with and without `prefix`, and as the functions of `keys` spell it.

    Attributes are keys. Writing goes to `changes`.
    """

    changes: MutableMapping[str, Any]

    def __init__(
        self, changes: MutableMapping[str, Any], defaults: Iterable[Any] | None = None, keys: Any = None, prefix: Any = None
    ) -> None:
        below = [each if isinstance(each, Mapping) else DictAttribute(each) for each in defaults or ()]
        vars(self).update(changes=changes, maps=[changes, *below], _keys=tuple(keys or ()), prefix=prefix or "")

    @property
    def defaults(self) -> list[Any]:
        return list(self.maps[1:])

    def first(self, *keys: str) -> Any:
        """The value of the first of these keys that has one other than None; None where none has."""
        return next((value for key in keys if (value := self.get(key)) is not None), None)

    def swap_with(self, other: ConfigurationView) -> None:
        """Become the other."""
        vars(self).update(vars(other))

    def copy(self) -> ConfigurationView:
        return type(self)(dict(self.changes), self.defaults, self._keys, self.prefix)

    def clear(self) -> None:
        """Drop the changes."""
        self.changes.clear()

    def __getitem__(self, key: str) -> Any:
        spelled = self._spelled(key)
        for each in self.maps:
            for name in spelled:
                if name in each:
                    return each[name]
        raise KeyError(f"Key not found: {key!r}{f' (with prefix: {self.prefix + key!r})' if self.prefix else ''}")

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        self.changes[key] = value

    def __delitem__(self, key: str) -> None:
        del self.changes[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and any(name in each for name in self._spelled(key) for each in self.maps)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for each in self.maps for key in each))

    def __len__(self) -> int:
        return len(set().union(*self.maps))

    def _spelled(self, key: str) -> list[str]:
        prefix = self.prefix
        with_prefix = [prefix + key] if prefix and not key.startswith(prefix) else []
        return [*with_prefix, key, *(spell(key) for spell in self._keys)]


class LimitedSet:
    """A set that forgets: the oldest beyond `maxlen` (0: no end), and what is older than `expires` s (0: never) while more
    than `minlen` are left. Iterating goes from the oldest to the newest.

    Raises ValueError for limits that contradict each other.
    """

    def __init__(self, maxlen: int | None = 0, expires: float | None = 0, data: Any = None, minlen: int | None = 0) -> None:
        self.maxlen, self.minlen, self.expires = maxlen or 0, minlen or 0, expires or 0
        if not 0 <= self.minlen <= self.maxlen and (self.maxlen or self.minlen < 0):
            raise ValueError("minlen must be a positive number, less or equal to maxlen.")
        if self.expires < 0:
            raise ValueError("expires cannot be negative!")
        self._moments: dict[Any, float] = {}  # oldest first
        self.update(data)

    def add(self, item: Any, now: float | None = None) -> None:
        """Add it with the time `now` (s since 1970; None: the clock's), or make it newer."""
        moment = float(now or time.time())
        last = next(reversed(self._moments.values()), moment) if self._moments else moment
        self._moments.pop(item, None)
        self._moments[item] = moment
        if moment < last:
            self._moments = dict(sorted(self._moments.items(), key=lambda pair: pair[1]))
        if (self.maxlen and len(self._moments) > self.maxlen) or self.expires:
            self.purge()

    def update(self, other: Any) -> None:
        """Add all of another set, of a map from items to times, or of a sequence."""
        if not other:
            return
        pairs = other.as_dict() if isinstance(other, LimitedSet) else other
        if not isinstance(pairs, Mapping):
            pairs = dict.fromkeys(pairs)
        for item, moment in pairs.items():
            if moment is not None and not isinstance(moment, float):
                raise ValueError(f"the time of {item!r} must be a float, seconds since 1970, not {moment!r}")
            self.add(item, moment)

    def discard(self, item: Any) -> None:
        self._moments.pop(item, None)

    pop_value = discard

    def pop(self, default: Any = None) -> Any:
        """Take the oldest out."""
        item = next(iter(self._moments), default)
        self._moments.pop(item, None)
        return item

    def purge(self, now: float | None = None) -> None:
        """Forget what the limits do not let stay."""
        oldest = (float(now or time.time())) - self.expires if self.expires else None
        while self._moments:
            item, moment = next(iter(self._moments.items()))
            too_many = self.maxlen and len(self._moments) > self.maxlen
            too_old = oldest is not None and moment < oldest and len(self._moments) > self.minlen
            if not too_many and not too_old:
                return
            del self._moments[item]

    def clear(self) -> None:
        self._moments.clear()

    def as_dict(self) -> dict[Any, float]:
        """Item -> its time."""
        return dict(self._moments)

    def __contains__(self, item: object) -> bool:
        return item in self._moments

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._moments))

    def __len__(self) -> int:
        return len(self._moments)

    def __bool__(self) -> bool:
        return bool(self._moments)

    def __eq__(self, other: object) -> bool:
        return self._moments == other._moments if isinstance(other, LimitedSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<LimitedSet({len(self)}): maxlen={self.maxlen}, expires={self.expires}, minlen={self.minlen}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.maxlen, self.expires, self.as_dict(), self.minlen)


__all__ = ["AttributeDict", "ChainMap", "ConfigurationView", "DictAttribute", "LRUCache", "LimitedSet"]

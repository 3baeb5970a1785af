"""Compares two answers: keys, types of values, recursively. What stands in lists is compared by its first entries."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

NUMBER = (int, float)


def shapes_differ(ours: Any, theirs: Any, *, ignore: Collection[str] = (), path: str = "") -> list[str]:
    """Where two values have not the same shape, as lines; [] when they have. `ignore` are paths such as "stats.pool"; lists
    have no part in a path. None stands for any value that is absent: it is compared only with None and texts or numbers."""
    if path in ignore:
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [
            f"{below}: {'ours' if key in ours else 'theirs'} only"
            for key in sorted(ours.keys() ^ theirs.keys())
            if (below := _join(path, key)) not in ignore
        ]
        for key in ours.keys() & theirs.keys():
            found += shapes_differ(ours[key], theirs[key], ignore=ignore, path=_join(path, key))
        return found
    if isinstance(ours, list) and isinstance(theirs, list):
        if bool(ours) != bool(theirs):
            return [f"{path}: ours {ours!r:.200}, theirs {theirs!r:.200}"]
        return shapes_differ(ours[0], theirs[0], ignore=ignore, path=path) if ours else []
    if type(ours) is not type(theirs) and not (isinstance(ours, NUMBER) and isinstance(theirs, NUMBER)):
        return [f"{path}: ours {ours!r:.200}, theirs {theirs!r:.200}"]
    return []


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key

"""`celery.utils.objects`, `celery.utils.collections` and `celery.utils.iso8601`: the names that programs take."""

from __future__ import annotations

from collections import ChainMap
from datetime import datetime
from typing import Any


class Bunch:
    """An object with these attributes."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


class AttributeDict(dict[str, Any]):
    """A dict whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def parse_iso8601(datestring: str) -> datetime:
    """A time of ISO 8601. Raises ValueError."""
    return datetime.fromisoformat(datestring)


__all__ = ["AttributeDict", "Bunch", "ChainMap", "parse_iso8601"]

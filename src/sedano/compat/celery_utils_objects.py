"""`celery.utils.objects` and `celery.utils.iso8601`: the names that programs take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any


class Bunch:
    """An object with these attributes."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


class FallbackContext:
    """`with` that gives `provided` and leaves it alone, or where that is None what `fallback(...)` makes, and ends that."""

    def __init__(self, provided: Any, fallback: Callable[..., Any], *fb_args: Any, **fb_kwargs: Any) -> None:
        self.provided, self.fallback, self.fb_args, self.fb_kwargs = provided, fallback, fb_args, fb_kwargs
        self._context: Any = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        self._context = self.fallback(*self.fb_args, **self.fb_kwargs)
        return self._context.__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return None if self._context is None else self._context.__exit__(*exc_info)


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


__all__ = ["AttributeDict", "Bunch", "FallbackContext", "parse_iso8601"]

"""`celery.utils.functional`: small tools for sequences and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


def noop(*args: Any, **kwargs: Any) -> None:
    """Takes anything, does nothing."""
    del args, kwargs


def pass1(arg: T, *args: Any, **kwargs: Any) -> T:
    """The first argument."""
    del args, kwargs
    return arg


def maybe_list(obj: Any, scalars: Any = (dict, str, bytes)) -> Any:
    """`obj` in a list, unless it is a sequence, or None."""
    return obj if obj is None or (hasattr(obj, "__iter__") and not isinstance(obj, scalars)) else [obj]


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first item that `predicate` holds for (or that is true), None when there is none."""
    return next((item for item in it if (item is not None if predicate is None else predicate(item))), None)


def uniq(it: Iterable[T]) -> Iterator[T]:
    """Each item once, in order."""
    seen: set[Any] = set()
    for item in it:
        if item not in seen:
            seen.add(item)
            yield item


def chunks(it: Iterable[T], n: int) -> Iterator[list[T]]:
    """Lists of `n` items; the last one may be shorter."""
    rest = iter(it)
    while part := list(islice(rest, n)):
        yield part


def padlist(container: Iterable[Any], size: int, default: Any = None) -> Iterator[Any]:
    """The first `size` items, filled up with `default`."""
    items = list(container)[:size]
    yield from items
    for _ in range(size - len(items)):
        yield default


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function that reads these attributes, None where there is none, into a dict."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def is_numeric_value(value: Any) -> bool:
    """Whether it is a number and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def memoize(maxsize: int | None = 100, keyfun: Any = None, Cache: Any = None) -> Callable[[Callable[..., T]], Callable[..., T]]:  # noqa: N803 - Celery's name
    """A decorator that remembers what was returned for which arguments."""
    del keyfun, Cache
    return lru_cache(maxsize)


__all__ = [
    "chunks",
    "first",
    "is_numeric_value",
    "mattrgetter",
    "maybe_list",
    "memoize",
    "noop",
    "padlist",
    "pass1",
    "uniq",
]

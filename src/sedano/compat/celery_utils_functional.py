"""`celery.utils.functional`: small tools for sequences and functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from sedano.events.lru import LRUCache

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


def is_list(obj: Any, scalars: Any = (dict, str, bytes), iters: Any = Iterable) -> bool:
    """Whether it is a sequence of things, and no text or map."""
    return isinstance(obj, iters) and not isinstance(obj, scalars)


def dictfilter(d: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    """Without the keys whose value is None."""
    return {key: value for key, value in {**(d or {}), **kwargs}.items() if value is not None}


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """`typ(val)`, or None for None."""
    return None if val is None else typ(val)


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Whether any keyword may be given."""
    return any(each.kind is each.VAR_KEYWORD for each in inspect.signature(fun).parameters.values())


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Callable[..., int]:
    """A function that takes what `fun` takes (without its first, if `bound`), does nothing, and raises TypeError otherwise."""
    signature = inspect.signature(fun)
    if bound:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])

    def head(*args: Any, **kwargs: Any) -> int:
        signature.bind(*args, **kwargs)
        return 1

    return head


class mlazy:  # noqa: N801 - Celery's name
    """A value that is made when it is first asked for, by calling this."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.fun, self.args, self.kwargs = fun, args, kwargs
        self.evaluated = False
        self._value: Any = None

    def __call__(self) -> Any:
        if not self.evaluated:
            self._value, self.evaluated = self.fun(*self.args, **self.kwargs), True
        return self._value


class _Regen(Sequence[Any]):
    """What an iterator gives, taken from it as far as somebody reads, and kept."""

    def __init__(self, it: Iterable[Any]) -> None:
        self._rest = iter(it)
        self._taken: list[Any] = []

    @property
    def data(self) -> list[Any]:
        """All of it."""
        self._taken.extend(self._rest)
        return self._taken

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= 0:
            self._taken.extend(islice(self._rest, max(0, index + 1 - len(self._taken))))
            return self._taken[index]
        return self.data[index]

    def __iter__(self) -> Iterator[Any]:
        index = 0
        while index < len(self._taken) or self._advance():
            yield self._taken[index]
            index += 1

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(self._taken) or self._advance()

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | tuple | _Regen) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it is as a list

    def __repr__(self) -> str:
        return f"<regen: [{', '.join([*map(repr, self._taken), '...'])}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _Regen, (self.data,)

    def _advance(self) -> bool:
        for item in self._rest:
            self._taken.append(item)
            return True
        return False


def regen(it: Any) -> Any:
    """A sequence that can be read again and again: lists and tuples are, what an iterator gives is kept as it is read."""
    return it if isinstance(it, list | tuple) else _Regen(it)


__all__ = [
    "LRUCache",
    "chunks",
    "dictfilter",
    "first",
    "fun_accepts_kwargs",
    "head_from_fun",
    "is_list",
    "is_numeric_value",
    "mattrgetter",
    "maybe",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "pass1",
    "regen",
    "uniq",
]

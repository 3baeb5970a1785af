"""`celery.utils.text`: small tools for text."""

from __future__ import annotations

from collections.abc import Iterable
from pprint import pformat
from textwrap import indent as _indent
from typing import Any


def str_to_list(s: str | list[str]) -> list[str]:
    """Words joined by commas, as a list."""
    return s.split(",") if isinstance(s, str) else s


def join(l: Iterable[str], sep: str = "\n") -> str:  # noqa: E741 - Celery's name
    """The items that are not empty, joined."""
    return sep.join(item for item in l if item)


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Each line behind that many spaces."""
    return sep.join(_indent(line, " " * indent) for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """At most `maxlen` characters, cut behind a word."""
    if maxlen and len(s) >= maxlen:
        return s[:maxlen].rsplit(" ", 1)[0] + suffix
    return s


def abbr(S: str, max: int, ellipsis: str | bool = "...") -> str:  # noqa: N803, A002 - Celery's names
    """At most `max` characters."""
    if len(S) <= max:
        return S
    dots = "..." if ellipsis is True else ellipsis or ""
    return S[: max - len(dots)] + dots


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """`text`, with `suffix` unless `n` is one."""
    return text if n == 1 else text + suffix


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """`s` with at least `n` of `sep` behind it."""
    return s + sep * (n - s.count(sep))


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kwargs: Any) -> str:
    """A value as text for people."""
    del nl_width, sep
    return pformat(value, width=width, **kwargs)


__all__ = ["abbr", "ensure_sep", "indent", "join", "pluralize", "pretty", "str_to_list", "truncate"]

"""A bounded `repr` that never raises, in the form that Celery 5.7 writes into `argsrepr` and `kwargsrepr`.

Text stands in single quotes with nothing escaped but these; bytes are shown as text or hexadecimal; containers deeper than
`maxlevels` as `{...}`; a container inside itself as Python's pretty printer names it. Once `maxlen` characters are written
the rest is `, ...`, and the brackets that are open are closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from numbers import Number
from typing import Any

_EXACT = frozenset({int, bool, float, type(None)})
_CONTAINERS = (set, frozenset, tuple, dict, list)


def saferepr(value: object, maxlen: int | None = 1024, maxlevels: int = 3) -> str:
    """`value` for people: about `maxlen` characters (None: all), containers deeper than `maxlevels` (0: none) shortened."""
    try:
        text = _flat(value)
        if text is None or (maxlen is not None and len(text) >= maxlen):
            writer = _Writer(maxlen, maxlevels)
            writer.write(value, 0)
            text = "".join(writer.parts)
    except Exception as exc:  # a container or a number of the user's may raise anything
        return _unrepresentable(value, exc)
    return text


def _flat(value: Any) -> str | None:
    """The whole text of a tuple, list or dict of plain values, in which nothing can need shortening but its length."""
    kind = type(value)
    if kind is tuple or kind is list:
        if not value:
            return "()" if kind is tuple else "[]"
        items = [_atom(item) for item in value[:64]]
        if None in items or len(value) > 64:
            return None
        inner = ", ".join(items)  # type: ignore[arg-type]
        if kind is list:
            return f"[{inner}]"
        return f"({inner})" if len(items) > 1 else f"({inner},)"
    if kind is dict:
        if not value:
            return "{}"
        if len(value) > 64:
            return None
        pairs: list[str] = []
        for key, item in value.items():
            name, text = _atom(key), _atom(item)
            if name is None or text is None:
                return None
            pairs.append(f"{name}: {text}")
        return f"{{{', '.join(pairs)}}}"
    return None


def _atom(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return "'" + value.replace("'", "\\'") + "'" if "'" in value else f"'{value}'"
    return repr(value) if kind in _EXACT else None


class _Writer:
    """Writes token by token and stops when the room is used up. `left` None is no limit."""

    def __init__(self, maxlen: int | None, maxlevels: int) -> None:
        self.parts: list[str] = []
        self.left = maxlen
        self.maxlevels = maxlevels
        self.full = False
        self.open: set[int] = set()

    def write(self, value: Any, level: int) -> None:
        if isinstance(value, _CONTAINERS):
            self._container(value, level)
        elif isinstance(value, (str, bytes)):
            self._put(_quoted(value, self.left))
        else:
            self._put(_shortened(_text(value), self.left))

    def _container(self, value: Any, level: int) -> None:
        if not value and isinstance(value, set | frozenset):
            self._put(_shortened(f"{type(value).__name__}()", self.left))
            return
        opening, closing = _brackets(value)
        if self.maxlevels and level >= self.maxlevels:
            self._put(f"{opening}...{closing}")
        elif id(value) in self.open:
            self._put(_shortened(f"<Recursion on {type(value).__name__} with id={id(value)}>", self.left))
        elif self._put(opening):
            self.open.add(id(value))
            if isinstance(value, dict):
                self._pairs(value.items(), level + 1)
            else:
                self._items(value, level + 1)
            self.open.discard(id(value))
            self._take(closing)

    def _items(self, items: Iterable[Any], level: int) -> None:
        for number, item in enumerate(items):
            if number:
                self._put(", ")
            if self.full:
                return
            self.write(item, level)

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], level: int) -> None:
        for number, (key, item) in enumerate(pairs):
            if number:
                self._put(", ")
            if self.full or not self._put(self._key(key)) or not self._put(": "):
                return
            self.write(item, level)

    def _key(self, key: Any) -> str:
        # Nothing is written once the room is used up; asking for the text of a huge key would be wasted.
        return "" if self.left is not None and self.left <= 0 else saferepr(key, self.left, self.maxlevels)

    def _put(self, token: str) -> bool:
        """Write `token` if there is room; otherwise say, once, that something is left out."""
        if self.full:
            return False
        if self.left is not None and self.left <= 0:
            self.full = True
            self.parts.append(", ...")
            return False
        self._take(token)
        return True

    def _take(self, token: str) -> None:
        self.parts.append(token)
        if self.left is not None:
            self.left -= len(token)


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, tuple):
        return "(", ",)" if len(value) == 1 else ")"
    if isinstance(value, dict):
        return "{", "}"
    if isinstance(value, list):
        return "[", "]"
    return ("{", "}") if type(value) is set else (f"{type(value).__name__}({{", "})")


def _quoted(value: str | bytes, left: int | None) -> str:
    if isinstance(value, str):
        return "'" + _shortened(str(value), left).replace("'", "\\'") + "'"
    cut = left is not None and len(value) > left
    data = bytes(value[:left]) if cut else bytes(value)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.hex()
    return f"b'{text}...'" if cut else f"b'{text}'"


def _shortened(text: str, left: int | None) -> str:
    """Cut at the last space that leaves room, as Celery does."""
    if left and len(text) >= left:
        return text[:left].rsplit(" ", 1)[0] + "..."
    return text


def _text(value: Any) -> str:
    try:
        return str(value) if isinstance(value, Number) and not isinstance(value, Decimal) else repr(value)
    except Exception as exc:  # a `__repr__` of the user's may raise anything
        return _unrepresentable(value, exc)


def _unrepresentable(value: Any, exc: Exception) -> str:
    try:
        reason = repr(exc)
    except Exception:  # the exception's own repr is the user's too
        reason = type(exc).__name__
    return f"<Unrepresentable {type(value)!r}{id(value):#x}: {reason[:200]}>"

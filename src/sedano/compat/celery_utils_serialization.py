"""`celery.utils.serialization`: exceptions that can be pickled, values that JSON can say, words for true and false."""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sedano.exceptions import UnpickleableExceptionWrapper
from sedano.protocol.errors import pickleable as get_pickleable_exception
from sedano.protocol.errors import restored as get_pickled_exception

STRTOBOOL = {
    **dict.fromkeys(("true", "yes", "1", "on"), True),
    **dict.fromkeys(("false", "no", "0", "off"), False),
}


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> Any:
    """True or False for a word that means it; what is no text comes back. Raises TypeError for any other word."""
    if not isinstance(term, str):
        return term
    try:
        return (table or STRTOBOOL)[term.lower()]
    except KeyError:
        raise TypeError(f"Cannot coerce {term!r} to type bool") from None


def jsonify(
    obj: Any,
    builtin_types: tuple[type, ...] = (int, float, str),
    key: str | None = None,
    keyfilter: Callable[[str], Any] | None = None,
    unknown_type_filter: Callable[[Any], Any] | None = None,
) -> Any:
    """The value as JSON can say it: times in ISO 8601, lengths of time as text. Raises ValueError for what it cannot."""

    def below(value: Any, name: str | None) -> Any:
        return jsonify(value, builtin_types, name, keyfilter, unknown_type_filter)

    if obj is None or isinstance(obj, builtin_types):
        return obj
    if isinstance(obj, tuple | list):
        return [below(item, key) for item in obj]
    if isinstance(obj, dict):
        return {name: below(value, name) for name, value in obj.items() if keyfilter is None or keyfilter(name)}
    if isinstance(obj, dt.datetime):
        text = obj.isoformat(timespec="milliseconds" if obj.microsecond else "auto")
        return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text
    if isinstance(obj, dt.date | dt.time):
        return obj.isoformat()
    if isinstance(obj, dt.timedelta | uuid.UUID):
        return str(obj)
    if unknown_type_filter is not None:
        return unknown_type_filter(obj)
    raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r} (parent: {key})")


def b64encode(s: bytes | str) -> str:
    return base64.b64encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: bytes | str) -> bytes:
    return base64.b64decode(s)


__all__ = [
    "UnpickleableExceptionWrapper",
    "b64decode",
    "b64encode",
    "get_pickleable_exception",
    "get_pickled_exception",
    "jsonify",
    "strtobool",
]

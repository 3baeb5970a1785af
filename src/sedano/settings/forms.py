"""What a value of a setting may look like, and the plain value that it means.

Each form reads what people write (numbers as text, timedelta, lists or tuples, one module or many) into one plain type and
refuses only what cannot work. The settings themselves keep what was written; `Settings.typed` and validation read it here.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, timedelta, tzinfo
from typing import Any

import msgspec

from sedano.settings.option import Option

TRUE_WORDS = ("true", "yes", "on", "1", "t", "y")
FALSE_WORDS = ("false", "no", "off", "0", "f", "n", "")
_RATE = re.compile(r"\d+(\.\d+)?(/[smh])?")
_DELIVERY_MODES = {"transient": 1, "persistent": 2, "1": 1, "2": 2}


class Form(msgspec.Struct, frozen=True):
    """`says` completes "expected ...". `read` returns the plain value, or raises: FormError adds its text to `says`.

    `takes_objects`: functions and classes are values too. `is_number`: None means something (no limit), not the default.
    """

    says: str
    read: Callable[[Any], Any]
    takes_objects: bool = False
    is_number: bool = False


def form_of(option: Option) -> Form:
    """The form of an option's values, with its choices and minimum applied."""
    if option.choices:
        return _one_of(option.choices)
    form = FORMS[option.form or ("seconds" if option.unit == "s" and option.type in ("float", "int") else option.type)]
    return form if option.minimum is None else _at_least(form, option.minimum)


def read_value(option: Option, value: Any) -> Any:
    """`value` as the plain value that `option` means. None stays None, except where only the default can stand for it.

    Raises ValueError saying what is expected.
    """
    form = form_of(option)
    if value is None:
        if option.default is None or form.is_number:
            return None
        value = option.default
    try:
        return form.read(value)
    except (ValueError, TypeError, OverflowError) as exc:
        detail = str(exc) if isinstance(exc, FormError) else ""
        raise FormError(f"{form.says}{f' ({detail})' if detail else ''}") from exc


class FormError(ValueError):
    """A value has not the form that it should have; the text says which that is."""


def _one_of(choices: tuple[Any, ...]) -> Form:
    def read(value: Any) -> Any:
        for choice in choices:
            if value == choice or (not isinstance(choice, str) and str(value) == str(choice)):
                return choice
        raise FormError

    return Form(" or ".join(map(repr, choices)), read)


def _at_least(form: Form, minimum: float) -> Form:
    def read(value: Any) -> Any:
        plain = form.read(value)
        if plain < minimum:
            raise FormError
        return plain

    return msgspec.structs.replace(form, says=f"{form.says}, {minimum:g} or more", read=read)


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise FormError
    if isinstance(value, int | float):
        return bool(value)
    raise FormError


def _integer(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    whole = int(value)
    if whole != value:
        raise FormError
    return whole


def _number(value: Any) -> float:
    number = float(value)
    if number != number:
        raise FormError("not a number")
    return number


def _seconds(value: Any) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else _number(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise FormError


def _text_or_number(value: Any) -> str | int:
    if isinstance(value, str | int):
        return value
    raise FormError


def _path(value: Any) -> str:
    plain = os.fspath(value)
    return plain if isinstance(plain, str) else os.fsdecode(plain)


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise FormError


def _mapping(value: Any) -> dict[Any, Any]:
    if isinstance(value, str):
        raise FormError
    return dict(value)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise FormError
    return list(value)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(_text(name) for name in _list(value))


def _modules(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _names(value)


def _urls(value: Any) -> tuple[str, ...]:
    """All URLs of a setting that may name several, split at `;` except for sentinels, whose driver wants them together."""
    if isinstance(value, str):
        parts = [value] if value.startswith("sentinel://") else value.split(";")
        return tuple(part.strip() for part in parts if part.strip())
    return _names(value)


def _zone(value: Any) -> tzinfo:
    if isinstance(value, tzinfo):
        return value
    if str(value).upper() in ("UTC", "GMT"):
        return UTC  # which needs no zone database
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only where a zone is named: UTC, the default, needs none

    try:
        return ZoneInfo(_text(value))
    except Exception as exc:  # ZoneInfo raises KeyError, ValueError, OSError, depending on what the name looks like
        raise FormError(f"the zone database does not know {value!r}") from exc


def _log_level(value: Any) -> int:
    if isinstance(value, int):
        return value
    number = logging.getLevelNamesMapping().get(_text(value).upper())
    if number is None:
        raise FormError
    return number


def _delivery_mode(value: Any) -> int:
    mode = _DELIVERY_MODES.get(str(value).lower())
    if mode is None:
        raise FormError
    return mode


def _rate(value: Any) -> Any:
    if isinstance(value, str) and not _RATE.fullmatch(value):
        raise FormError
    if not isinstance(value, str | int | float):
        raise FormError
    return value


def _ssl(value: Any) -> bool | dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else _bool(value)


def _concurrency(value: Any) -> int | str:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    number = _integer(value)
    if number < 0:
        raise FormError
    return number


def _queues(value: Any) -> Any:
    if isinstance(value, Mapping):
        wrong = [name for name, options in value.items() if not (isinstance(options, Mapping) or hasattr(options, "name"))]
        if wrong:
            raise FormError(f"the options of {wrong[0]!r} are neither a dict nor a Queue")
        return dict(value)
    queues = _list(value)
    for queue in queues:
        if not hasattr(queue, "name"):
            raise FormError(f"{queue!r} is no Queue")
    return queues


def _routes(value: Any) -> Any:
    routers = value if isinstance(value, list | tuple) else (value,)
    for router in routers:
        if not (isinstance(router, str | Mapping | list | tuple) or callable(router) or hasattr(router, "route_for_task")):
            raise FormError(f"{router!r} is no router")
    return value


def _annotations(value: Any) -> Any:
    for item in value if isinstance(value, list | tuple) else (value,):
        if not (isinstance(item, str | Mapping) or hasattr(item, "annotate")):
            raise FormError(f"{item!r} annotates nothing")
    return value


FORMS: Mapping[str, Form] = {
    "bool": Form("true or false", _bool),
    "int": Form("a whole number", _integer, is_number=True),
    "float": Form("a number", _number, is_number=True),
    "number": Form("a number", _number, is_number=True),
    "seconds": Form("seconds as a number, or a timedelta", _seconds, is_number=True),
    "string": Form("text", _text),
    "text or number": Form("text or a number", _text_or_number),
    "path": Form("the path of a file", _path),
    "bytes": Form("bytes", _bytes),
    "dict": Form("a dict", _mapping),
    "list": Form("a list", _list),
    "tuple": Form("a list", _list),
    "any": Form("anything", lambda value: value, takes_objects=True),
    "names": Form("a list of names, such as ['json']", _names),
    "modules": Form("the name of a module, or a list of such names", _modules),
    "urls": Form("a URL, several joined by ';', or a list of URLs", _urls),
    "zone": Form("the name of a time zone such as 'Europe/Rome', or a tzinfo object", _zone),
    "log level": Form("a log level such as 'INFO', or its number", _log_level),
    "delivery mode": Form("1, 2, 'transient' or 'persistent'", _delivery_mode),
    "rate": Form("a number per second, or text such as '10/s', '10/m', '10/h'", _rate),
    "ssl": Form("true, false or a dict of options", _ssl),
    "concurrency": Form("a whole number, or 'auto'", _concurrency),
    "queues": Form("a list of Queue objects, or a dict of name -> options", _queues, takes_objects=True),
    "routes": Form("a dict, a function, a path to one, or a list of these", _routes, takes_objects=True),
    "annotations": Form("a dict, an object with annotate(), or a list of these", _annotations, takes_objects=True),
}

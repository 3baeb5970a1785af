"""Exceptions as maps, both ways (wire-protocol 6.1): `{"exc_type", "exc_message", "exc_module"}`.

Pickled results hold the exception itself; `pickleable` and `restored` are that road. Nothing here imports a module: a class is
looked for among those that are loaded already.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

from sedano.exceptions import DecodeError, EncodeError, SecurityError, UnpickleableExceptionWrapper
from sedano.protocol.names import is_unknown_to_celery, wire_name, wire_object
from sedano.protocol.saferepr import saferepr
from sedano.protocol.serializers import dumps, loads

_GENERATED_MODULE = "celery.exceptions"
# Reducing an exception to one of these would tell the reader nothing.
_TOO_PLAIN = (Exception, BaseException, object)


def exception_to_map(exc: BaseException, serializer: str = "json") -> dict[str, Any]:
    """`{"exc_type", "exc_message", "exc_module"}`; arguments that `serializer` cannot write are replaced by their repr."""
    kind = type(exc)
    module, name = wire_name(kind) or (kind.__module__, kind.__qualname__)
    return {"exc_type": name, "exc_message": _writable(getattr(exc, "args", ()), serializer), "exc_module": module}


def exception_from_map(data: Any) -> BaseException:
    """The exception that `data` describes. Never imports anything.

    A class that is not loaded is made under `celery.exceptions`; one whose constructor refuses its arguments becomes
    `Exception("<class>(args)")`. Raises `SecurityError` when the name is no exception class, `DecodeError` for no such map.
    """
    if isinstance(data, BaseException):
        return restored(data)
    if not isinstance(data, Mapping):
        raise DecodeError(f"a stored exception must be a map or an exception, not {saferepr(data, 200)}")
    name, module, message = data.get("exc_type"), data.get("exc_module"), data.get("exc_message", "")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise DecodeError(f"a stored exception must name its type: {saferepr(data, 200)}")
    kind = _find(module, name)
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        # Calling anything else would let whoever writes to the result store run any function that is loaded here.
        raise SecurityError(f"Expected an exception class, got {module}.{name} with payload {saferepr(message, 200)}")
    args = tuple(message) if isinstance(message, list | tuple) else (message,)
    try:
        made = kind(*args)
    except Exception:  # the constructor is the user's and may refuse in any way
        made = None
    return made if isinstance(made, BaseException) else Exception(f"{kind}({message})")


def pickleable(exc: BaseException) -> BaseException:
    """`exc`, or its nearest base class that survives a pickle and that Celery knows, or an `UnpickleableExceptionWrapper`."""
    if not is_unknown_to_celery(type(exc)) and _survives(exc):
        return exc
    for base in type(exc).__mro__:
        if base in _TOO_PLAIN:
            break
        if is_unknown_to_celery(base):
            continue
        try:
            nearest = base(*exc.args)
        except Exception:  # noqa: S112 - the next base class is tried
            continue
        if isinstance(nearest, BaseException) and _survives(nearest):
            return nearest
    args = [arg if _survives(arg) else _text(arg) for arg in exc.args]
    return UnpickleableExceptionWrapper(type(exc).__module__, type(exc).__name__, args, _text(exc))


def restored(exc: BaseException) -> BaseException:
    """What was pickled as `exc`: a wrapper becomes an exception of a class made after the original."""
    if not isinstance(exc, UnpickleableExceptionWrapper):
        return exc
    return _generated(str(exc.exc_cls_name), str(exc.exc_module))(*exc.exc_args)


def _find(module: str | None, name: str) -> Any:
    ours = wire_object(module, name) if module else None
    if ours is not None:
        return ours
    found: Any = sys.modules.get(module) if module else None
    if found is None:
        return _generated(name, _GENERATED_MODULE)
    from inspect import getattr_static as static  # noqa: PLC0415 - only for errors that some other process has written

    for part in name.split("."):
        # Static: a module's or a class's own `__getattr__` could import or run anything.
        found = static(found, part, None)
        if found is None:
            return _generated(name, _GENERATED_MODULE)
    return found


@functools.lru_cache(maxsize=256)
def _generated(name: str, module: str) -> type[Exception]:
    try:
        return type(name, (Exception,), {"__module__": module})
    except ValueError as exc:
        raise DecodeError(f"{name!r} cannot be the name of an exception class: {exc}") from exc


def _writable(args: Any, serializer: str) -> list[Any]:
    members = list(args)
    if _can_write(members, serializer):
        return members
    return [member if _can_write(member, serializer) else _text(member) for member in members]


def _can_write(value: Any, serializer: str) -> bool:
    try:
        dumps(value, serializer)
    except EncodeError:
        return False
    return True


def _survives(value: Any) -> bool:
    try:
        content_type, encoding, data = dumps(value, "pickle")
        loads(data, content_type, encoding, (content_type,))
    except (EncodeError, DecodeError):
        return False
    return True


def _text(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # the value's repr is the user's
        return saferepr(value)

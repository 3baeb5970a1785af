"""Whether a function is `async def`, without what `inspect` takes to import."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import Any

from sedano.app import late

_CO_COROUTINE = 0x80  # of the language's data model, as `inspect.CO_COROUTINE`
_MARK = "_is_coroutine_marker"  # what `inspect.markcoroutinefunction` (Python 3.12) sets


def is_coroutine_function(function: Any) -> bool:
    """As `inspect.iscoroutinefunction`; the usual cases are answered here."""
    plain = function.__func__ if isinstance(function, MethodType) else function
    if type(plain) is FunctionType and _MARK not in plain.__dict__:
        return bool(plain.__code__.co_flags & _CO_COROUTINE)
    return late.is_coroutine_function(function)

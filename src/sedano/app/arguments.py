"""Check a call's arguments against the function's signature before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from sedano.app import late

ArgumentCheck = Callable[..., Any]

# Flags of a code object that takes `*args`, `**kwargs`: of the language's data model, as `inspect` names them.
_VARARGS, _VARKEYWORDS = 0x04, 0x08


def _nothing() -> None:
    return None


def argument_check(function: Callable[..., Any], *, bound: bool) -> ArgumentCheck:
    """A function that takes a call's arguments and raises the TypeError that `function` itself would raise for them.

    For Python functions it is an empty function with the same parameters, so that the interpreter does the check (and words
    the error) at its own speed. `bound` functions get the task as their first argument.
    """
    if isinstance(function, FunctionType):
        header = FunctionType(_empty_code(function.__code__, function.__name__), {}, function.__name__)
        header.__defaults__ = function.__defaults__
        header.__kwdefaults__ = function.__kwdefaults__
        check: ArgumentCheck = header
    else:
        check = late.binder(function)
    if bound:
        task = object()
        return lambda *args, **kwargs: check(task, *args, **kwargs)
    return check


def _empty_code(code: CodeType, name: str) -> CodeType:
    count = code.co_argcount + code.co_kwonlyargcount
    takes_rest = code.co_flags & (_VARARGS | _VARKEYWORDS)
    count += bool(takes_rest & _VARARGS) + bool(takes_rest & _VARKEYWORDS)
    plain = _nothing.__code__
    return plain.replace(
        co_argcount=code.co_argcount,
        co_posonlyargcount=code.co_posonlyargcount,
        co_kwonlyargcount=code.co_kwonlyargcount,
        co_varnames=code.co_varnames[:count],
        co_nlocals=count,
        co_flags=(plain.co_flags & ~(_VARARGS | _VARKEYWORDS)) | takes_rest,
        co_name=name,
        co_qualname=name,
    )

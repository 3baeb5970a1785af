"""Check a call's arguments against the function's signature before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

ArgumentCheck = Callable[..., Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


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
        try:
            check = inspect.signature(function).bind
        except (TypeError, ValueError):  # a builtin that does not tell its parameters
            return lambda *_args, **_kwargs: None
    if bound:
        task = object()
        return lambda *args, **kwargs: check(task, *args, **kwargs)
    return check


def _empty_code(code: CodeType, name: str) -> CodeType:
    count = code.co_argcount + code.co_kwonlyargcount
    takes_rest = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    count += bool(takes_rest & inspect.CO_VARARGS) + bool(takes_rest & inspect.CO_VARKEYWORDS)
    plain = _nothing.__code__
    return plain.replace(
        co_argcount=code.co_argcount,
        co_posonlyargcount=code.co_posonlyargcount,
        co_kwonlyargcount=code.co_kwonlyargcount,
        co_varnames=code.co_varnames[:count],
        co_nlocals=count,
        co_flags=(plain.co_flags & ~(inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)) | takes_rest,
        co_name=name,
        co_qualname=name,
    )


def takes_more_than_one(function: Callable[..., Any]) -> bool:
    """Whether `function` can be called with two positional arguments: an errback of the form (request, exc, traceback)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    return sum(parameter.kind in _POSITIONAL for parameter in parameters) > 1


def merge_changed(
    function: Callable[..., Any],
    old: tuple[Sequence[Any], Mapping[str, Any]],
    new: tuple[Sequence[Any] | None, Mapping[str, Any] | None],
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Arguments of a retry that changes only one half of them: the other half is kept where it does not conflict."""
    (old_args, old_kwargs), (args, kwargs) = old, new
    if args is None and kwargs is None:
        return old_args, old_kwargs
    if args is not None and kwargs is not None:
        return args, kwargs
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return (old_args if args is None else args), (old_kwargs if kwargs is None else kwargs)
    if args is not None:
        positional = [p for p in signature.parameters.values() if p.kind in _POSITIONAL]
        given = {p.name for p in positional[: len(args)] if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD}
        return args, {name: value for name, value in old_kwargs.items() if name not in given}
    assert kwargs is not None
    try:
        kept = signature.bind_partial(*old_args)
    except TypeError:  # the old arguments never fitted: the call itself will say so
        return old_args, kwargs
    rest = dict(kwargs)
    for name in kwargs:
        parameter = signature.parameters.get(name)
        if name in kept.arguments and parameter is not None and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            kept.arguments[name] = rest.pop(name)
    return kept.args, {**kept.kwargs, **rest}

"""What a function's parameters say, where its code alone does not: opened late, since `inspect` takes long to import."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def binder(function: Callable[..., Any]) -> Callable[..., Any]:
    """Takes a call's arguments, and raises TypeError when `function` would not; takes all for a builtin that does not tell."""
    try:
        return inspect.signature(function).bind
    except (TypeError, ValueError):
        return lambda *_args, **_kwargs: None


def takes_more_than_one(
    function: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> bool:
    """Whether `function`, which gets `args` and `kwargs` anyway, can be called with two positional arguments more: an errback
    of the form (request, exc, traceback)."""
    try:
        parameters = inspect.signature(functools.partial(function, *args, **(kwargs or {}))).parameters.values()
    except (TypeError, ValueError):
        if args or kwargs:  # arguments that cannot be bound say nothing about the form
            return takes_more_than_one(function)
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

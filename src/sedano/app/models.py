"""Tasks with `pydantic=True`: arguments that are annotated with a model arrive as that model, and a model that the function
returns as annotated becomes a plain value. As Celery 5.7 does it; `async def` too.

Only a parameter whose whole annotation is a model, or that or None, is meant; not a list of models, nor `*args`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sedano.exceptions import ImproperlyConfigured

_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Models:
    """What the function of the task `name` says about models.

    `options` are those of the decorator: pydantic_strict, pydantic_context, pydantic_dump_kwargs. Raises ImproperlyConfigured
    when pydantic is not installed.
    """

    def __init__(self, app: Any, name: str, function: Callable[..., Any], options: Mapping[str, Any], *, bound: bool) -> None:
        try:
            self._base = importlib.import_module("pydantic").BaseModel
        except ImportError as exc:
            raise ImproperlyConfigured(
                f"task {name!r} has pydantic=True, and pydantic is not installed: pip install 'sedano[pydantic]'"
            ) from exc
        self._function = function
        self._bound = bound
        self._strict = bool(options.get("pydantic_strict"))
        self._context = {**(options.get("pydantic_context") or {}), "celery_app": app, "celery_task_name": name}
        self._dump = {"mode": "json", **(options.get("pydantic_dump_kwargs") or {})}
        self._signature = inspect.signature(function)
        self._models, self._returns = self._read_annotations()
        self._names = [
            parameter.name
            for parameter in self._signature.parameters.values()
            if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        ][1 if bound else 0 :]

    def wrap(self) -> Callable[..., Any]:
        """The function with models in and plain values out. Raises pydantic's ValidationError for what is no such model."""
        function = self._function
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                given = self._validated(args, kwargs)
                return self._plain(await function(*given.args, **given.kwargs))

            return later

        @functools.wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            given = self._validated(args, kwargs)
            return self._plain(function(*given.args, **given.kwargs))

        return now

    def dump_arguments(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """`args` and `kwargs` of a call with models as plain values, for every model that will come back equal.

        What would not is left for the serializer to refuse: it is no such model, or its own code fails here.
        """
        if not isinstance(args or (), list | tuple) or not isinstance(kwargs or {}, Mapping):
            return args, kwargs
        if not any(isinstance(value, self._base) for value in (*(args or ()), *(kwargs or {}).values())):
            return args, kwargs
        try:
            self._signature.bind(*([None] if self._bound else []), *(args or ()), **(kwargs or {}))
        except TypeError:  # the call will say so itself
            return args, kwargs
        names: Sequence[str | None] = [*self._names, *[None] * len(args or ())]
        plain = [self._dumped(name, value) for name, value in zip(names, args or (), strict=False)]
        return plain, {name: self._dumped(name, value) for name, value in (kwargs or {}).items()}

    # -- one value ------------------------------------------------------------------------------------------------------

    def _validated(self, args: Any, kwargs: Any) -> inspect.BoundArguments:
        given = self._signature.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            model = self._model(name, value)
            if model is not None:
                given.arguments[name] = self._validate(model, value)
        return given

    def _plain(self, value: Any) -> Any:
        returns = self._returns
        if isinstance(value, self._base) and isinstance(returns, type) and isinstance(value, returns):
            return value.model_dump(**self._dump)  # type: ignore[attr-defined]  # the class is only known when it runs
        return value

    def _dumped(self, name: str | None, value: Any) -> Any:
        # A model with __json__ knows itself how it is sent.
        if not isinstance(value, self._base) or hasattr(type(value), "__json__"):
            return value
        model = None if name is None else self._model(name, value)
        if model is None:
            return value
        try:
            plain = value.model_dump(**self._dump)
            return plain if self._validate(model, plain) == value else value
        except Exception:  # validators of the user's run here, and may need what only a worker has
            return value

    def _validate(self, model: Any, value: Any) -> Any:
        return model.model_validate(value, strict=self._strict, context=dict(self._context))

    def _model(self, name: str, value: Any) -> Any:
        model, or_none = self._models.get(name, (None, False))
        return None if or_none and value is None else model

    # -- annotations ------------------------------------------------------------------------------------------------------

    def _read_annotations(self) -> tuple[dict[str, tuple[Any, bool]], Any]:
        """Of the parameters that are models: (the model, may it be None); and what the function returns."""
        try:
            hints = typing.get_type_hints(self._function)
        except (NameError, AttributeError, TypeError):  # a name that only exists for type checkers
            hints = {}
        models: dict[str, tuple[Any, bool]] = {}
        for name, parameter in self._signature.parameters.items():
            kind, or_none = _without_none(hints.get(name, parameter.annotation))
            if parameter.kind in _NAMED and isinstance(kind, type) and issubclass(kind, self._base):
                models[name] = kind, or_none
        return models, _without_none(hints.get("return", self._signature.return_annotation))[0]


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """(X, True) for `X | None`; (annotation, False) for anything else."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        rest = [member for member in members if member is not type(None)]
        if len(rest) == 1 and len(members) == 2:
            return rest[0], True
    return annotation, False

"""The commands that nodes understand, by name: Celery's, and the user's own.

    @control_command(args=[("n", int)], signature="[N=1]")
    def increase(state, n=1): ...

The function runs in the node, with `state` first (`state.app`, `state.hostname`) and the arguments of the message by name;
what it returns is the answer. The command line reads the same table: a module which both ends import teaches both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar, overload

from sedano.app.commands import BUILTIN, CONTROL, INSPECT, CommandInfo

F = TypeVar("F", bound=Callable[..., Any])


class Panel:
    """`meta` maps names to what is known of them, `data` names and aliases of the user's commands to functions."""

    data: ClassVar[dict[str, Callable[..., Any]]] = {}
    meta: ClassVar[dict[str, CommandInfo]] = {info.name: info for info in BUILTIN}

    @overload
    @classmethod
    def register(cls, function: F, /) -> F: ...
    @overload
    @classmethod
    def register(cls, /, **options: Any) -> Callable[[F], F]: ...
    @classmethod
    def register(cls, function: Any = None, /, **options: Any) -> Any:
        """A decorator, with the options of `CommandInfo` or plain. The user's function takes the place of a built-in one."""
        if function is None:
            return lambda decorated: cls._register(decorated, **options)
        return cls._register(function, **options)

    @classmethod
    def _register(
        cls,
        function: F,
        *,
        name: str | None = None,
        type: str = CONTROL,  # noqa: A002 - Celery's word
        args: Sequence[tuple[str, Callable[[Any], Any]]] | None = None,
        help: str | None = None,  # noqa: A002 - Celery's word
        **more: Any,
    ) -> F:
        name = name or getattr(function, "__name__", "")
        if not name:
            raise ValueError(f"{function!r} has no name: give the command one, name=...")
        text = help if help is not None else (inspect.getdoc(function) or "").partition("\n")[0]
        info = CommandInfo(name, type, args=tuple(args or ()), help=text, **more)
        cls.meta[name] = info
        cls.data[name] = function
        if info.alias:
            cls.data[info.alias] = function
        return function


def control_command(**options: Any) -> Any:
    """A command that changes something; see `CommandInfo` for `options`."""
    return Panel.register(type=CONTROL, **options)


def inspect_command(**options: Any) -> Any:
    """A command that only asks."""
    return Panel.register(type=INSPECT, **options)

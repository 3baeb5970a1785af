"""What belongs to no app: `shared_task`, and the names `current_app` and `current_task`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, ParamSpec, TypeVar, overload

from sedano import current
from sedano.app import defining, late
from sedano.app.defining import BoundDecorator, Decorator
from sedano.app.proxy import Proxy
from sedano.app.task import Task

Q = ParamSpec("Q")
T = TypeVar("T")

current_app: Any = Proxy(late.current_app)
current_task: Any = Proxy(current.get_current_task)


@overload
def shared_task(fun: Callable[Q, Coroutine[Any, Any, T]], /) -> Task[Q, T, Coroutine[Any, Any, T]]: ...
@overload
def shared_task(fun: Callable[Q, T], /) -> Task[Q, T]: ...
@overload
def shared_task(*, bind: Literal[True], **options: Any) -> BoundDecorator: ...
@overload
def shared_task(*, bind: Literal[False] = ..., **options: Any) -> Decorator: ...
def shared_task(*args: Any, **options: Any) -> Any:
    """As `app.task`, for every app of the process, those to come included. The result stands for the current app's task."""

    def make(function: Callable[..., Any]) -> Any:
        if isinstance(function, Task):
            raise TypeError(f"{function.name} is a task already: apply @shared_task once")
        name = options.get("name")
        defining.share(function, options)
        for app in current.live_apps():
            if app.finalized:
                defining.make_task(app, function, options)

        def find() -> Any:
            app = late.current_app()
            return app.tasks[name or app.gen_task_name(function.__name__, function.__module__)]

        return Proxy(find)

    if len(args) > 1 or (args and not callable(args[0])):
        raise TypeError("@shared_task() takes one function; options are given by name")
    return make(args[0]) if args else make

"""From a decorated function to a task.

A decorated function is a `PendingTask` until it is first used: then its class is made, with the app's settings and whatever
`app.Task` is by then, and the very same object becomes an instance of it. So it can be imported, passed on and compared
from the beginning, and decorating reads no configuration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from sedano import current
from sedano.app.arguments import argument_check
from sedano.app.finding import symbol_by_name
from sedano.app.options import check_task_options
from sedano.app.retrying import add_autoretry
from sedano.app.task import Task
from sedano.exceptions import DuplicateTaskNameWarning

if TYPE_CHECKING:
    from sedano.app.base import Celery

Q = ParamSpec("Q")
T = TypeVar("T")

_MODELS = "sedano.app.models:Models"  # looked for when a task asks for it


class Decorator(Protocol):
    """`@app.task(...)`: keeps the function's parameters and result."""

    @overload
    def __call__(self, fun: Callable[Q, Coroutine[Any, Any, T]], /) -> Task[Q, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, fun: Callable[Q, T], /) -> Task[Q, T]: ...


class BoundDecorator(Protocol):
    """`@app.task(bind=True, ...)`: as `Decorator`, without the first parameter, which is the task."""

    @overload
    def __call__(self, fun: Callable[Concatenate[Any, Q], Coroutine[Any, Any, T]], /) -> Task[Q, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, fun: Callable[Concatenate[Any, Q], T], /) -> Task[Q, T]: ...


class PendingTask(Task):
    """A task that nobody has used yet. The first look at any attribute makes it a real one."""

    def __getattribute__(self, name: str) -> Any:
        settle(self)
        if name == "__class__":
            # isinstance() asks for __class__ and looks at the answer only if it is not the type that the object has by
            # then; so answer, this once, with the class right above.
            return type(self).__mro__[1]
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        settle(self)
        setattr(self, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        settle(self)
        return self(*args, **kwargs)

    def __repr__(self) -> str:
        settle(self)
        return repr(self)

    def __reduce__(self) -> Any:
        settle(self)
        return self.__reduce__()


def decorate(app: Celery, args: Sequence[Any], options: dict[str, Any]) -> Any:
    """What `app.task(*args, **options)` returns: a task, or a decorator that makes one."""
    if len(args) > 1:
        raise TypeError("@app.task() takes one function; options are given by name: @app.task(name=..., bind=True)")
    if args and not callable(args[0]):
        raise TypeError(f"the argument of @app.task() must be a function, not {args[0]!r}")

    def make(function: Callable[..., Any]) -> Any:
        if options.get("shared", True):
            share(function, options, made_by=app)
        if options.get("lazy", True) and not app.finalized:
            task = pending_task(app, function, options)
            app.pending.append(task)
        else:
            task = make_task(app, function, options)
        chosen = options.get("filter")
        return chosen(task) if chosen is not None else task

    return make(args[0]) if args else make


def share(function: Callable[..., Any], options: Mapping[str, Any], made_by: Any = None) -> None:
    """Have each other app that is finalized from now on register a task of `function` too, unless the name is taken there."""

    def register_in(app: Any) -> None:
        if (
            app is not made_by
            and (options.get("name") or app.gen_task_name(function.__name__, function.__module__)) not in app.registry
        ):
            make_task(app, function, options)

    current.connect_on_app_finalize(register_in)


def pending_task(app: Celery, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """A task of `app` that is made on first use."""
    pending: Any = object.__new__(PendingTask)
    object.__getattribute__(pending, "__dict__")["_make"] = lambda: make_task(app, function, options, into=pending)
    return pending


def settle(task: Any) -> None:
    """Make a pending task a real one; nothing for others."""
    if type(task) is PendingTask:
        make = object.__getattribute__(task, "__dict__").get("_make")
        if make is not None:
            make()


def make_task(app: Celery, function: Callable[..., Any], options: Mapping[str, Any], into: Any = None) -> Any:
    """The task of `function` in `app`, made and registered unless its name is taken. `into` is the pending task to become it.

    A name that is taken keeps its first task, with a warning when another function asks for it.
    """
    with app.finalize_lock:
        if into is not None and type(into) is not PendingTask:
            return into
        if not app.finalized and not app.autofinalize:
            raise RuntimeError(
                f"task {function.__name__!r} was used before app.finalize(): this app was made with autofinalize=False"
            )
        rest = {name: value for name, value in options.items() if name not in ("name", "base", "bind")}
        name = options.get("name") or app.gen_task_name(function.__name__, function.__module__)
        existing = app.registry.get(name)
        if existing is not None:
            _warn_of_duplicate(app, name, existing, function)
            return _become(into, type(existing), vars(existing)) if into is not None else existing
        kind = _class_of(app, name, function, options.get("base"), bool(options.get("bind")), rest)
        kind.bind(app)  # first: it reads the settings, which may fail, and then nothing has happened yet
        if into is None:
            task = kind()
        else:
            task = _become(into, kind, {})
            task.__init__()
        add_autoretry(task, rest)
        app.registry[name] = task
        return task


def register(app: Celery, task: Any, options: Mapping[str, Any]) -> Any:
    """Add a task of a class (or an instance of one); a task of that name is replaced, with a warning."""
    task = task() if isinstance(task, type) else task
    kind = type(task)
    if not task.name:
        task.name = app.gen_task_name(kind.__name__, kind.__module__)
    existing = app.tasks.get(task.name)
    if existing is not None and existing is not task:
        _warn(app, task.name, existing, kind, "The new one replaced it: calls under this name now reach the new one.")
    add_autoretry(task, options)
    app.tasks[task.name] = task
    kind._app = app
    kind.bind(app)
    return task


def _class_of(
    app: Celery, name: str, function: Callable[..., Any], base: Any, takes_self: bool, options: Mapping[str, Any]
) -> Any:
    base = base if base is not None else app.Task
    check_task_options(name, options, base)
    models = symbol_by_name(_MODELS)(app, name, function, options, bound=takes_self) if options.get("pydantic") else None
    body = function if models is None else models.wrap()
    run: Any = body if takes_self else staticmethod(body)
    attributes = {
        "_app": app,
        "name": name,
        "run": run,
        "takes_self": takes_self,
        "abstract": False,
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__qualname__": getattr(function, "__qualname__", function.__name__),
        "__annotations__": getattr(function, "__annotations__", {}),
        "__header__": staticmethod(argument_check(function, bound=takes_self)),
        "__wrapped__": run,
        "_function": staticmethod(function),
        "_dump_arguments": None if models is None else staticmethod(models.dump_arguments),
    }
    own = {key: value for key, value in options.items() if key not in ("shared", "lazy", "filter")}
    backend = own.pop("backend", None)
    if backend is not None:
        own["_backend"] = backend
    return type(function.__name__, (base,), {**attributes, **own})


def _become(task: Any, kind: type, values: dict[str, Any]) -> Any:
    """Make the pending `task` an instance of `kind` whose attributes are the dict `values` itself."""
    object.__getattribute__(task, "__dict__").pop("_make", None)
    try:
        object.__setattr__(task, "__class__", kind)
    except TypeError as exc:  # a base with __slots__ or a builtin among its bases
        raise TypeError(f"{kind.__name__}: its base class cannot be made lazily ({exc}); use @app.task(lazy=False)") from exc
    task.__dict__ = values
    return task


def _warn_of_duplicate(app: Celery, name: str, existing: Any, function: Callable[..., Any]) -> None:
    taken_by = getattr(existing, "_function", None)
    if taken_by is not None and taken_by is not function:
        _warn(app, name, taken_by, function, "The new one was not registered: calls under this name reach the first one.")


def _warn(app: Celery, name: str, existing: Any, new: Any, consequence: str) -> None:
    if name in app.duplicate_names:
        return
    app.duplicate_names.add(name)
    text = f"Two tasks are named {name!r}: {_shown(existing)} and {_shown(new)}. {consequence} Give one of them name=..."
    warnings.warn(DuplicateTaskNameWarning(text), stacklevel=4)


def _shown(thing: Any) -> str:
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"

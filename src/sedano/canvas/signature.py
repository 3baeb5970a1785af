"""A call as data: what task, with what arguments and options, not sent yet.

A `Signature` is a map of Celery's form (`task, args, kwargs, options, subtask_type, immutable`) and goes over the wire as
such. Applying it needs an app: the one that it was made with, else the process's current one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sedano import current
from sedano.canvas import shapes, stamping
from sedano.exceptions import ImproperlyConfigured
from sedano.protocol import names
from sedano.protocol.ids import new_id

if TYPE_CHECKING:
    from typing import Generic

    from typing_extensions import TypeVar as DefaultTypeVar

    R = DefaultTypeVar("R", default=Any)

    class _Map(dict[str, Any], Generic[R]):
        pass
else:
    R = TypeVar("R")
    _Map = dict

S = TypeVar("S", bound="Signature[Any]")

# Options that a later call must not change: what was frozen into a group or stamped stays.
_FIXED_OPTIONS = frozenset({"group_id", "stamped_headers"})
_KEYS = ("task", "args", "kwargs", "options", "subtask_type", "immutable")


class Signature(_Map[R]):
    """A call of `task` (a task, its name, or a map of this form) that is still to be sent."""

    TYPES: ClassVar[dict[str, type[Signature[Any]]]] = {}
    """Classes of signatures by `subtask_type`."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, _result: Any) -> type[Signature]:
            return cls

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002 - Celery's name
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Any = None,
        **more_options: Any,
    ) -> None:
        if isinstance(task, Mapping):
            super().__init__(task)
            self._app, self._type = app or getattr(task, "_app", None), getattr(task, "_type", None)
            return
        name = task if isinstance(task, str) else getattr(task, "name", None)
        if name is None and task is not None:
            raise TypeError(f"a signature needs a task or its name, not {task!r}")
        super().__init__(
            task=name,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **more_options},
            subtask_type=subtask_type,
            immutable=immutable,
        )
        self._app = app
        self._type = type if type is not None else (None if isinstance(task, str) else task)

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[type[S]], type[S]]:
        """A decorator for a class of signatures: `from_dict` makes one of it where `subtask_type` is `name`."""

        def register(subclass: type[S]) -> type[S]:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature[Any]:
        """From a map, such as one that was read from a message. Raises ValueError for a `subtask_type` that nobody knows."""
        kind = d.get("subtask_type")
        if kind:
            made_by = cls.TYPES.get(kind)
            if made_by is None:
                raise ValueError(f"a signature of {d.get('task')!r}: its subtask_type {kind!r} is none of {sorted(cls.TYPES)}")
            if made_by is not cls:
                return made_by.from_dict(d, app=app)
        return cls._plain(d, app)

    @classmethod
    def _plain(cls, d: Mapping[str, Any], app: Any) -> Signature[Any]:
        missing = [key for key in _KEYS if key not in d]
        full = {**dict.fromkeys(missing), **d} if missing else d
        signature: Signature[Any] = Signature(full, app=app)
        signature["args"] = signature["args"] or ()
        signature["kwargs"] = signature["kwargs"] or {}
        signature["options"] = dict(signature["options"] or {})
        return signature

    # -- parts ------------------------------------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        return self["task"]  # type: ignore[no-any-return]

    @property
    def args(self) -> tuple[Any, ...]:
        return self["args"]  # type: ignore[no-any-return]

    @args.setter
    def args(self, args: Sequence[Any]) -> None:
        self["args"] = args

    @property
    def kwargs(self) -> dict[str, Any]:
        return self["kwargs"]  # type: ignore[no-any-return]

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        self["kwargs"] = kwargs

    @property
    def options(self) -> dict[str, Any]:
        return self["options"]  # type: ignore[no-any-return]

    @options.setter
    def options(self, options: dict[str, Any]) -> None:
        self["options"] = options

    @property
    def subtask_type(self) -> str | None:
        return self["subtask_type"]  # type: ignore[no-any-return]

    @property
    def immutable(self) -> bool:
        return bool(self["immutable"])

    @immutable.setter
    def immutable(self, immutable: bool) -> None:
        self["immutable"] = immutable

    @property
    def id(self) -> str | None:
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        return self.options.get("root_id")

    @property
    def name(self) -> str:
        return self.task

    @property
    def app(self) -> Any:
        """The app that applies it: its own, else its task's, else the process's current one."""
        app = self._app or getattr(self._type, "app", None) or current.get_app()
        if app is None:
            raise ImproperlyConfigured(
                f"signature of {self.task!r}: there is no app in this process to apply it with. Make one (Celery(...)), or"
                " give it: signature(..., app=app)."
            )
        return app

    @property
    def type(self) -> Any:
        """The task. Raises NotRegistered (a KeyError) when it is unknown here."""
        return self._type or self.app.tasks[self.task]

    @property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        try:
            return self.type.AsyncResult
        except KeyError:
            return self.app.AsyncResult

    # -- applying ---------------------------------------------------------------------------------------------------------

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Run the task here, as a plain function."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Send it; the arguments given here go before its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it, with more arguments before its own and more options over its own."""
        if route_name is not None:
            options["route_name"] = route_name
        options = {name: value for name, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        try:
            task = self.type
        except KeyError:
            return self.app.send_task(self.task, args, kwargs, **options)
        return task.apply_async(args, kwargs, **options)

    async def adelay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """As `delay`, without blocking the event loop."""
        return await self.aapply_async(partial_args, partial_kwargs)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """As `apply_async`, without blocking the event loop."""
        options = {name: value for name, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        try:
            task = self.type
        except KeyError:
            return await self.app.asend_task(self.task, args, kwargs, **options)
        return await task.aapply_async(args, kwargs, **options)

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now; an `EagerResult`."""
        args, kwargs, options = self._merge(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Give it its id now and return the result that it will have; nothing is sent."""
        options = self.options
        task_id = options.setdefault("task_id", _id or new_id())
        options.setdefault("reply_to", self.app.thread_oid)
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        given = {"root_id": root_id, "parent_id": parent_id, "chord": chord}
        options.update({name: value for name, value in given.items() if value})
        if group_index is not None:
            options["group_index"] = group_index
        return self.AsyncResult(task_id)

    _freeze = freeze

    # -- changing ---------------------------------------------------------------------------------------------------------

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Signature[R]:
        """A copy; the arguments given here go before its own (unless it is immutable), the options over its own."""
        merged_args, merged_kwargs, options = self._merge(args, kwargs, opts)
        copied = self._copied()
        copied.update(args=tuple(merged_args), kwargs=copied._own_kwargs(merged_kwargs), options=copy.deepcopy(options))
        return copied

    def _copied(self) -> Signature[R]:
        """One of the same class and parts."""
        copied: Signature[R] = self.__class__.__new__(self.__class__)
        dict.update(copied, self)
        copied._app, copied._type = self._app, self._type
        return copied

    def _own_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments as a copy may have them without sharing what changes."""
        return dict(kwargs)

    partial = clone

    def replace(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, options: Any = None
    ) -> Signature[R]:
        """A copy with these parts in place of its own."""
        copied = self.clone()
        for name, part in (("args", args), ("kwargs", kwargs), ("options", options)):
            if part is not None:
                copied[name] = part
        return copied

    def set(self, immutable: bool | None = None, **options: Any) -> Signature[R]:
        """Set options in place; returns itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        self["immutable"] = immutable

    def link(self, callback: Any) -> Any:
        """Send `callback` when the call has succeeded; returns the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Send (or call) `errback` when the call has failed; returns the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Signature[R]:
        """As `link_error`, but returns itself."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add `value` to a list of options, once."""
        values = self._list_option(key)
        if value not in values:
            values.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        self._list_option(key).extend(value if isinstance(value, list | tuple) else [value])

    def _list_option(self, key: str) -> list[Any]:
        values = self.options.get(key)
        if not isinstance(values, list):
            values = [] if values is None else [values]
            self.options[key] = values
        return values

    def flatten_links(self) -> list[Signature[Any]]:
        """Itself and its callbacks, and theirs."""
        flat: list[Signature[Any]] = [self]
        for callback in self.options.get("link") or ():
            flat += Signature.from_dict(callback, app=self._app).flatten_links()
        return flat

    def _merge(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, options: Any = None
    ) -> tuple[Sequence[Any], dict[str, Any], dict[str, Any]]:
        return merge(self, args, kwargs, options)

    # -- stamps -----------------------------------------------------------------------------------------------------------

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        """Label it, and everything that it spawns, with `headers` and what `visitor` (a StampingVisitor) says of it."""
        self.stamp_links(visitor, append_stamps, **headers)
        said = visitor.on_signature(self, **headers) or {} if visitor is not None else None
        return self.set(**stamping.collect(headers, said, self.options, appends=append_stamps))

    def stamp_links(self, visitor: Any, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp its callbacks and errbacks."""
        for key, told in (("link", "on_callback"), ("link_error", "on_errback")):
            stamps = copy.deepcopy(headers)
            links = shapes.listed(self.options.get(key))
            for position, link in enumerate(links):
                linked = maybe_signature(link, app=self._app)
                said = getattr(visitor, told)(linked, **stamps) or {} if visitor is not None else None
                stamps = stamping.collect(stamps, said, None, appends=append_stamps)
                linked.stamp(visitor, append_stamps, **stamps)
                links[position] = linked
            if links:
                self.options[key] = links

    # -- operators and display --------------------------------------------------------------------------------------------

    def __or__(self, other: Any) -> Any:
        """`a | b`: one after the other."""
        if not isinstance(other, Signature):
            return NotImplemented
        return self.TYPES["chain"].of((self, other), app=self._app)  # type: ignore[attr-defined]

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    def __invert__(self) -> Any:
        """`~sig`: send it and wait for the result."""
        return self.apply_async().get()

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """As a call in Python: `proj.add(2, k=3)`."""
        all_args, all_kwargs, _ = self._merge(args, kwargs, {})
        shown = [repr(value) for value in all_args] + [f"{name}={value!r}" for name, value in all_kwargs.items()]
        return f"{self.task}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature[R]:
        copied = self._copied()
        memo[id(self)] = copied
        copied.update(copy.deepcopy(dict(self), memo))
        return copied

    def __copy__(self) -> Signature[R]:
        return self.clone()

    def __reduce__(self) -> Any:
        return signature, (dict(self),)


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
    """A signature of a task, a name, a map or another signature (which is copied)."""
    app = kwargs.get("app")
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=app).clone()
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """A signature of a map; None and anything else stay what they are."""
    if not isinstance(d, Mapping):
        return d
    if isinstance(d, Signature):
        return d.clone() if clone else d
    return Signature.from_dict(d, app=app)


maybe_subtask = maybe_signature


def merge(
    signature: Mapping[str, Any],
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any] | None,
) -> tuple[Sequence[Any], dict[str, Any], dict[str, Any]]:
    """(args, kwargs, options) of a signature applied with more of each. An immutable one takes only the options."""
    own_args, own_kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    own_options: dict[str, Any] = signature.get("options") or {}
    if options:
        fixed = _FIXED_OPTIONS.union(own_options.get("stamped_headers") or ())
        more = {name: value for name, value in options.items() if name not in fixed or name not in own_options}
        own_options = {**own_options, **more}
    if signature.get("immutable"):
        return own_args, dict(own_kwargs), dict(own_options)
    return (*(args or ()), *own_args), {**own_kwargs, **(kwargs or {})}, dict(own_options)


def plain(value: Any) -> Any:
    """A signature, or a task that stands for one, as a plain map for the wire; anything else as it is."""
    if isinstance(value, Mapping):
        return dict(value)
    if callable(getattr(value, "s", None)):
        return dict(value.s())
    return value


names.declare(signature, "celery.canvas", "signature")  # type: ignore[arg-type]

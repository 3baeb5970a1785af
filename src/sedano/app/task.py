"""`Task`: a registered function with its options. Users call it, subclass it and read its `request`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, TypeVar, overload

from sedano import canvas, current
from sedano.app import annotating, eager, late, publishing, replacing, retrying
from sedano.app.attributes import FROM_SETTINGS, TaskAttributes
from sedano.app.context import Context as Context
from sedano.app.context import pop_request, pop_top, push_request, request_of, within
from sedano.app.functions import is_coroutine_function
from sedano.app.options import EXEC_OPTIONS
from sedano.app.plan import TaskPlan, plan_of
from sedano.canvas.signature import Signature
from sedano.result import AsyncResult, EagerResult

if TYPE_CHECKING:
    from typing_extensions import ParamSpec
    from typing_extensions import TypeVar as DefaultTypeVar

    from sedano.app.base import Celery

    P = ParamSpec("P", default=...)
    R = DefaultTypeVar("R", default=Any)
    C = DefaultTypeVar("C", default=R)
    Q = ParamSpec("Q")
else:
    from typing import ParamSpec

    P, Q = ParamSpec("P"), ParamSpec("Q")
    R, C = TypeVar("R"), TypeVar("C")

_own_values = attrgetter(*EXEC_OPTIONS, "ignore_result")

A = TypeVar("A")
T = TypeVar("T")


class _AppOfTask:
    """`task.app` and `TaskClass.app`: the app that the class is bound to, else the current one."""

    def __get__(self, task: Any, owner: Any) -> Celery:
        app: Celery = owner._app or late.current_app()
        return app

    def __set__(self, task: Any, app: Any) -> None:
        type(task)._app = app


class Task(TaskAttributes, Generic[P, R, C]):
    """A task: `P` are the parameters of its function, `R` its result, `C` what calling it here gives (a coroutine for
    `async def`).

    Its options are class attributes: see `attributes.py`.
    """

    app = _AppOfTask()
    _app: ClassVar[Any] = None
    _bound: ClassVar[bool] = False
    _backend: Any = None
    _plan: TaskPlan | None = None
    _idle_request: Context | None = None
    _dump_arguments: Any = None  # of a task with pydantic=True: see models.py
    _known_options: tuple[Any, dict[str, Any]] | None = None  # the values of its attributes, and what they are as options
    __header__: Any

    if not TYPE_CHECKING:
        # The typed form takes two or three parameters, which Python 3.11 cannot express at run time.
        def __class_getitem__(cls, _parameters: Any) -> type[Task]:
            return cls

    # -- the life of a task -----------------------------------------------------------------------------------------------

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Connect the class to `app`: its settings become defaults, its annotations are applied. Returns the app."""
        first, cls._bound = "_bound" not in cls.__dict__, True
        cls._app = app
        conf = app.conf
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in FROM_SETTINGS:
            if getattr(cls, attribute, None) is None:
                setattr(cls, attribute, conf.typed(setting))
        if first:
            cls.annotate()
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the class was bound to `app`; for subclasses."""

    @classmethod
    def annotate(cls) -> None:
        """Apply `task_annotations` to the class."""
        annotating.annotate(cls, cls._app.annotations)

    @classmethod
    def add_around(cls, attr: str, around: Callable[[Any], Any]) -> None:
        """Replace the method `attr` by `around(method)`."""
        annotating.add_around(cls, attr, around)

    @property
    def plan(self) -> TaskPlan:
        """Made once, when the task is registered (or first run)."""
        if self._plan is None:
            self._plan = plan_of(self, Task)
        return self._plan

    # -- running it here --------------------------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Run the body here, as a plain function; an `async def` task returns its coroutine."""
        # Within a running call of its own (a base class whose __call__ calls this one), the request stays that call's.
        request = Context({**vars(self.request), "args": args, "kwargs": kwargs})
        token, running = push_request(self, request), current.push_task(self)
        try:
            result = self.run(*args, **kwargs)
        finally:
            current.pop_task(running)
            pop_request(token)
        if is_coroutine_function(self.run):
            result = within(self, request, result)
        return result  # type: ignore[no-any-return]

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body; subclasses and decorators define it."""
        raise NotImplementedError("Tasks must define the run method.")

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run the call here and now, with request, hooks, signals, retries and links as in a worker.

        `throw` (default: task_eager_propagates) raises what the task raised.
        """
        call = eager.EagerCall(
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            link=link,
            link_error=link_error,
            task_id=task_id,
            retries=retries or 0,
            throw=throw,
            logfile=logfile,
            loglevel=loglevel,
            headers=headers,
            options=options,
        )
        result: EagerResult[R] = eager.apply(self, call)
        return result

    # -- sending it -------------------------------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send a call with these arguments."""
        return self.apply_async(args, kwargs)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As `delay`, without blocking the event loop."""
        return await self.aapply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Send a call; returns when the broker has accepted it. `options` are Celery's; `producer` has no meaning here.

        Raises TypeError for arguments that the function does not take and for unknown options, EncodeError for arguments
        that do not serialize, OperationalError when the broker stays away.
        """
        del producer
        call = self._prepare(args, kwargs, task_id, link, link_error, shadow, options)
        app = self.app
        send = eager.apply_instead if app.terms.always_eager else publishing.publish
        result: AsyncResult[R] = send(app, call)
        return result

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """As `apply_async`, without blocking the event loop: the process's I/O thread publishes for all callers."""
        call = self._prepare(args, kwargs, task_id, link, link_error, shadow, options)
        app = self.app
        sending = (
            late.in_thread(eager.apply_instead, app, call) if app.terms.always_eager else publishing.publish_async(app, call)
        )
        result: AsyncResult[R] = await sending
        return result

    def _prepare(
        self,
        args: Any,
        kwargs: Any,
        task_id: str | None,
        link: Any,
        link_error: Any,
        shadow: str | None,
        options: dict[str, Any],
    ) -> publishing.CallToSend:
        if self.soft_time_limit and self.time_limit and self.soft_time_limit > self.time_limit:
            raise ValueError(
                f"soft_time_limit must be less than or equal to time_limit: task {self.name} has {self.soft_time_limit}"
                f" and {self.time_limit}"
            )
        if self.typing:
            check = getattr(self, "__header__", None)
            if check is not None:
                check(*(args or ()), **(kwargs or {}))
        shadow = shadow or self.shadow_name(args, kwargs, options)
        values = _own_values(self)
        known = self._known_options
        if known is None or known[0] != values:
            known = self._known_options = (values, {**self._exec_options(), "ignore_result": self.ignore_result})
        merged = known[1].copy()
        merged.update(options)
        if link is not None:
            merged["link"] = link
        if link_error is not None:
            merged["link_error"] = link_error
        if shadow is not None:
            merged["shadow"] = shadow
        if self._dump_arguments is not None and merged.get("serializer") != "pickle":
            args, kwargs = self._dump_arguments(args, kwargs)
        return publishing.CallToSend(self.name, args, kwargs, task_id, merged, self)

    def _exec_options(self) -> dict[str, Any]:
        return {name: value for name in EXEC_OPTIONS if (value := getattr(self, name)) is not None}

    def shadow_name(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> str | None:
        """The name to show for a call instead of the task's, or None; for subclasses."""
        del args, kwargs, options
        return None

    # -- signatures -------------------------------------------------------------------------------------------------------

    def signature(self, args: Sequence[Any] | None = None, *starargs: Any, **starkwargs: Any) -> Signature[R]:
        """A call as data: `signature((2, 3), {"k": 1}, countdown=10)`."""
        starkwargs.setdefault("app", self.app)
        return Signature(self, args, *starargs, **starkwargs)

    subtask = signature

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...
    @overload
    def s(self: Task[Concatenate[A, Q], T, Any], *args: Q.args, **kwargs: Q.kwargs) -> Signature[T]: ...
    def s(self, *args: Any, **kwargs: Any) -> Any:
        """A call as data, complete or without the first argument, which the step before it gives."""
        return Signature(self, args, kwargs, app=self.app)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """A call as data that takes nothing from the step before it."""
        return Signature(self, args, kwargs, app=self.app, immutable=True)

    def chunks(self, it: Iterable[Any], n: int) -> canvas.chunks:
        """A group of calls, each of which runs this task for `n` of the items (each its arguments)."""
        return canvas.chunks(self.signature(), it, n, app=self.app)

    def map(self, it: Iterable[Any]) -> canvas.xmap:
        """One call that runs this task for each item, one after another."""
        return canvas.xmap(self.signature(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> canvas.xstarmap:
        """As `map`, each item being the arguments of a run."""
        return canvas.xstarmap(self.signature(), it, app=self.app)

    def replace(self, sig: Any) -> Any:
        """End this call, and run `sig` in its place: under its id, with its callbacks and the rest of its chain or chord.

        Raises Ignore, which ends the call, so write `return self.replace(...)`; ImproperlyConfigured for a signature that is
        part of a chord, or an empty chain.
        """
        return self.on_replace(replacing.replacement(self, sig))

    def on_replace(self, sig: Any) -> Any:
        """Called by `replace` with what is to run; for subclasses."""
        return replacing.on_replace(self, sig)

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add a header task to the chord that this call is a part of; `lazy`: only prepare it. Raises ValueError outside of
        a chord."""
        return replacing.add_to_chord(self, sig, lazy)

    def signature_from_request(
        self, request: Context | None = None, args: Any = None, kwargs: Any = None, queue: Any = None, **extra_options: Any
    ) -> Signature[R]:
        """The running call as a signature, with other arguments or options where they are given."""
        return retrying.signature_from_request(self, request or self.request, args, kwargs, queue, extra_options)

    subtask_from_request = signature_from_request

    # -- inside a call ----------------------------------------------------------------------------------------------------

    @property
    def request(self) -> Context:
        """The call that runs in this thread or asyncio task; outside of one, an empty request."""
        running = request_of(self)
        if running is not None:
            return running
        if self._idle_request is None:
            self._idle_request = Context()
        return self._idle_request

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Make a request with these values (and otherwise those of the running one) the running one; mostly for tests."""
        push_request(self, Context(*args, **{**vars(self.request), **kwargs}))

    def pop_request(self) -> Context | None:
        return pop_top(self)

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Run the call again later: raises `Retry` (or returns it with `throw=False`).

        Raises `exc`, or MaxRetriesExceededError without one, when the call was retried `max_retries` times already.
        """
        order = retrying.RetryOrder(args, kwargs, exc, throw, eta, countdown, max_retries, options)
        return retrying.retry(self, self.request, order)

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any) -> None:
        """Store a state of one's own, such as PROGRESS; `meta` becomes the result's `info`.

        Raises ValueError where no call runs and no `task_id` is given.
        """
        request = self.request
        id_ = task_id or request.id
        if not id_:
            raise ValueError(f"task_id must not be empty: no call of {self.name} runs here, so say whose state it is")
        self.backend.store_result(id_, meta, state, request=request, **kwargs)

    def add_trail(self, result: Any) -> Any:
        """Note `result` as a child of the running call."""
        if self.trail:
            self.request.children.append(result)
        return result

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Announce an event about the running call, such as "task-progress", with fields of your own. Who follows the cluster's
        events hears it, and nobody else.

        With `retry` a broker that is away is tried again as `task_publish_retry_policy` says; then OperationalError is raised.
        """
        app, request = self.app, self.request
        policy = app.terms.retry_policy if retry_policy is None else retry_policy
        with app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, retry=retry, retry_policy=policy, **fields)

    # -- hooks ------------------------------------------------------------------------------------------------------------

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the body; an error here is the call's failure."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called after a success."""

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the call is to be run again."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after a failure."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called last, after a success or a failure."""

    # -- results and the rest ---------------------------------------------------------------------------------------------

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:  # noqa: N802 - Celery's name
        """The result of a call of this task."""
        return self.app.AsyncResult(task_id, backend=self._backend, task_name=self.name, **kwargs)

    @property
    def backend(self) -> Any:
        """This task's own result backend, else the app's."""
        return self.app.backend if self._backend is None else self._backend

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend = backend

    def start_strategy(self, app: Any, consumer: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Task.start_strategy: Sedano's worker has no strategies; see docs/differences.md")

    @property
    def __name__(self) -> str:
        return type(self).__qualname__.rpartition(".")[2]

    def __repr__(self) -> str:
        return (
            f"<@task: {self.name} of {self._app.main or '?'}>" if self._app is not None else f"<unbound {type(self).__name__}>"
        )

    def __reduce__(self) -> Any:
        module = type(self).__module__
        return unpickle_task, (self.name, module if module in sys.modules else None)


def unpickle_task(name: str, module: str | None = None) -> Any:
    """A task is pickled by name, and found in the current app."""
    if module is not None:
        __import__(module)
    return late.current_app().tasks[name]


BaseTask = Task

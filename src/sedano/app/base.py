"""`Celery`, the user's handle: configuration, the registry of tasks, and the ways to stores."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, overload

from sedano import current
from sedano.app import builtin, defining, discovery, late, publishing, rebuilding
from sedano.app.amqp import AMQP
from sedano.app.arguments import argument_check
from sedano.app.bulk import SendsMany
from sedano.app.configured import Configured, own_signal
from sedano.app.connect import Stores, preload
from sedano.app.connection import Connection, without_kombu
from sedano.app.context import worker_call
from sedano.app.defining import BoundDecorator, Decorator
from sedano.app.finding import symbol_by_name
from sedano.app.home import module_file_of_caller
from sedano.app.lamport import LamportClock
from sedano.app.registry import TaskRegistry
from sedano.app.sending import Sender
from sedano.app.task import Task
from sedano.app.terms import SendingTerms
from sedano.app.wiring import Wiring
from sedano.app.workflows import SendsWorkflows
from sedano.canvas.signature import Signature, signature
from sedano.exceptions import AlwaysEagerIgnored
from sedano.result import AsyncResult, GroupResult, ResultSet, bound_to
from sedano.result.forking import on_fork
from sedano.settings import CONFIG_MODULE
from sedano.signals import import_modules

if TYPE_CHECKING:
    from sedano.app.schedules import ScheduleClient

Q = ParamSpec("Q")
T = TypeVar("T")


class Celery(Configured, SendsMany, SendsWorkflows):
    """An application: tasks, configuration, and where calls and results go.

    With no `broker`, the embedded store is used (see `home.py`); `backend` None keeps results only there. Keywords that are
    no parameters are settings, and win over every configuration source, as `broker`, `backend` and `include` do.

    Nothing is read, opened or finalized before it is needed. The newest app with `set_as_current` is the process's current
    one, in all threads.
    """

    IS_macOS = sys.platform == "darwin"
    IS_WINDOWS = sys.platform == "win32"
    task_cls: Any = Task
    registry_cls: Any = TaskRegistry

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | Sequence[str] | None = None,
        include: str | Sequence[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Iterable[Any] | None = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        self.main = main
        self.set_as_current = set_as_current
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.clock = LamportClock()
        self.user_options: defaultdict[str, set[Any]] = defaultdict(set)
        self.steps: defaultdict[str, set[Any]] = defaultdict(set)
        self.finalized = False
        self.finalize_lock = threading.RLock()
        self.duplicate_names: set[str] = set()
        self.registry: TaskRegistry = tasks if isinstance(tasks, TaskRegistry) else self.registry_cls(tasks or {})
        self.task_cls = symbol_by_name(task_cls) or type(self).task_cls
        self.on_after_finalize = own_signal(self, "on_after_finalize")
        self.on_after_fork = own_signal(self, "on_after_fork")
        self.pending: deque[Any] = deque()
        self._loader_class: Any = None if loader in _LOADERS else symbol_by_name(loader)
        self.given = {"loader": loader, "amqp": amqp, "events": events, "log": log, "control": control}
        self.module_file = module_file_of_caller(self)
        if config_source is None and (loader or os.environ.get("CELERY_LOADER")) in _DEFAULT_LOADERS:
            # Where CELERY_CONFIG_MODULE names another module, every app reads that.
            config_source, config_source_silent = None if os.environ.get(CONFIG_MODULE) else "celeryconfig", True
        keywords = {"broker_url": broker, "result_backend": backend, "include": include, **kwargs}
        super().__init__(keywords, changes, config_source, config_source_silent, namespace)
        self._wiring = Wiring(self)
        on_fork(self, lambda app: app.on_after_fork.send(sender=app))
        current.remember_app(self)
        if set_as_current:
            self.set_current()
        self.fixups_done = [symbol_by_name(fixup)(self) for fixup in fixups or ()]
        builtin.register_builtin(self)
        self.on_init()

    def on_init(self) -> None:
        """Called at the end of the constructor; for subclasses."""

    # -- tasks ------------------------------------------------------------------------------------------------------------

    @overload
    def task(self, fun: Callable[Q, Coroutine[Any, Any, T]], /) -> Task[Q, T, Coroutine[Any, Any, T]]: ...
    @overload
    def task(self, fun: Callable[Q, T], /) -> Task[Q, T]: ...
    @overload
    def task(self, /, *, bind: Literal[True], **opts: Any) -> BoundDecorator: ...
    @overload
    def task(self, /, *, bind: Literal[False] = ..., **opts: Any) -> Decorator: ...
    def task(self, /, *args: Any, **opts: Any) -> Any:
        """Make a task of a function: `@app.task` or `@app.task(option=...)`."""
        return defining.decorate(self, args, opts)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task of a class, given the class or an instance; returns the instance."""
        return defining.register(self, task, options)

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task without `name=`; to be overridden."""
        if module == "__main__" and self.main:
            module = self.main
        return f"{module}.{name}" if module else name

    @property
    def tasks(self) -> TaskRegistry:
        """name -> task; finalizes the app."""
        self.finalize(auto=True)
        return self.registry

    def finalize(self, auto: bool = False) -> None:
        """Make all decorated tasks real, with those shared by other apps. Once; what is decorated later is made at once."""
        if self.finalized:
            return
        if auto and not self.autofinalize:
            raise RuntimeError("this app was made with autofinalize=False: call app.finalize() before using its tasks")
        # A configuration that cannot be read fails here, before anything has happened.
        self.conf.finalize()
        with self.finalize_lock:
            self._finalize()

    def _finalize(self) -> None:
        if self.finalized:  # by another thread, or by a handler of on_after_configure
            return
        self.finalized = True
        while self.pending:
            defining.settle(self.pending.popleft())
        # After its own: a name that another app's task has too belongs to this app's.
        current.announce_app_finalized(self)
        for task in list(self.registry.values()):
            type(task).bind(self)
        preload(self.conf, self.module_file)
        self.on_after_finalize.send(sender=self)

    @cached_property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of this app's tasks."""
        return self.create_task_cls()

    def create_task_cls(self) -> Any:
        return self.subclass_with_self(symbol_by_name(self.task_cls), name="Task", attribute="_app", abstract=True)

    def subclass_with_self(
        self,
        Class: Any,  # noqa: N803 - Celery's name
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        **kw: Any,
    ) -> Any:
        """A subclass of `Class` whose `attribute` is this app."""
        del reverse
        kw.pop("keep_reduce", None)
        base = symbol_by_name(Class)
        return type(
            name or base.__name__, (base,), {attribute: self, "__module__": base.__module__, "__doc__": base.__doc__, **kw}
        )

    def type_checker(self, fun: Any, bound: bool = False) -> Any:
        return argument_check(fun, bound=bound)

    @property
    def current_task(self) -> Any:
        """The task that runs in this thread or asyncio task."""
        return current.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """As `current_task`, not counting tasks called as plain functions."""
        running = worker_call()
        return running[0] if running is not None else None

    @cached_property
    def loader(self) -> Any:
        return (self._loader_class or discovery.Loader)(self)

    def autodiscover_tasks(self, packages: Any = None, related_name: str | None = "tasks", force: bool = False) -> None:
        """Import `<package>.<related_name>` of each package when a worker starts, or now with `force`.

        `packages` is a list, or a function that returns one; None means those of the framework (Django's installed apps).
        """
        if force:
            discovery.autodiscover(self, packages, related_name)
            return
        import_modules.connect(
            lambda **_: discovery.autodiscover(self, packages, related_name),
            weak=False,
            sender=self,
            dispatch_uid=("autodiscover", id(self), repr(packages), related_name),
        )

    # -- sending ----------------------------------------------------------------------------------------------------------

    def send_task(
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a call by the task's name, which need not be known here; options as of `Task.apply_async`."""
        result: AsyncResult[Any] = publishing.publish(self, self.call_by_name(name, args, kwargs, options))
        return result

    async def asend_task(
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """As `send_task`, without blocking the event loop."""
        result: AsyncResult[Any] = await publishing.publish_async(self, self.call_by_name(name, args, kwargs, options))
        return result

    def call_by_name(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> publishing.CallToSend:
        if self.terms.always_eager:
            warnings.warn(AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=3)
        task = self.registry.get(name)
        if task is not None:
            options = {**task._exec_options(), **options}
        return publishing.CallToSend(name, args, kwargs, options.pop("task_id", None), options, None)

    def signature(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        kwargs["app"] = self
        return signature(*args, **kwargs)

    @cached_property
    def amqp(self) -> Any:
        return (symbol_by_name(self.given["amqp"]) or AMQP)(self)

    @cached_property
    def control(self) -> Any:
        from sedano.app.control import Control  # noqa: PLC0415 - most programs that send calls never ask for it

        return (symbol_by_name(self.given["control"]) or Control)(self)

    @cached_property
    def events(self) -> Any:
        """What the cluster announces: `app.events.Receiver`, `Dispatcher`, `State`, `default_dispatcher()`."""
        from sedano.app.events import Events  # noqa: PLC0415 - most programs that send calls never ask for it

        return (symbol_by_name(self.given["events"]) or Events)(self)

    @cached_property
    def schedules(self) -> ScheduleClient:
        """Entries of the schedule that are made, changed and looked at while beats run; not in Celery."""
        from sedano.app.schedules import ScheduleClient  # noqa: PLC0415 - most programs that send calls never ask for it

        return ScheduleClient(self)

    @cached_property
    def log(self) -> Any:
        """Logging for programs that are no worker: `app.log.setup(loglevel="INFO")`; see `sedano.worker.applog`."""
        return late.make_log(self, symbol_by_name(self.given["log"]))

    def select_queues(self, queues: Any = None) -> None:
        """Consume from these queues only."""
        self.amqp.queues.select(queues)

    def setup_security(
        self,
        allowed_serializers: Iterable[str] | None = None,
        key: str | None = None,
        key_password: str | bytes | None = None,
        cert: str | None = None,
        store: str | None = None,
        digest: str | None = None,
        serializer: str = "json",
    ) -> None:
        """Sign what this process sends and demand signatures; see `security.py`. What is not given stands in the settings."""
        setup = symbol_by_name("sedano.app.security:setup_security")
        setup(allowed_serializers, key, key_password, cert, store, digest, serializer, app=self)

    @property
    def thread_oid(self) -> str:
        """Where answers to this thread would go: an id of its own per process and thread."""
        return self._wiring.thread_oid

    oid = thread_oid

    # -- stores -----------------------------------------------------------------------------------------------------------

    @property
    def stores(self) -> Stores:
        """Which stores this app uses; see `connect.py`. Follows the settings."""
        return self._wiring.stores

    @property
    def terms(self) -> SendingTerms:
        """The settings of sending as plain values, up to date."""
        return self._wiring.terms

    @property
    def sender(self) -> Sender:
        return self._wiring.sender

    @property
    def backend(self) -> Any:
        """The result store; a `DisabledBackend` when results are off."""
        return self._wiring.backend

    def AsyncResult(self, task_id: str, backend: Any = None, task_name: str | None = None, **kwargs: Any) -> AsyncResult[Any]:  # noqa: N802
        """The result of a call, bound to this app."""
        return AsyncResult(task_id, backend=backend, task_name=task_name, app=self, **kwargs)

    @cached_property
    def ResultSet(self) -> type[ResultSet]:  # noqa: N802
        """The class, bound to this app."""
        return bound_to(self, ResultSet)

    @cached_property
    def GroupResult(self) -> type[GroupResult]:  # noqa: N802
        """The class, bound to this app: `app.GroupResult.restore(id)`."""
        return bound_to(self, GroupResult)

    def connection(self, url: str | None = None, **_options: Any) -> Connection:
        """A handle of the broker for `app.events.Receiver` and `Dispatcher`; see `connection.py` for what it is not."""
        return Connection(self, url)

    broker_connection = connection_for_read = connection_for_write = connection
    connection_or_acquire = default_connection = producer_or_acquire = default_producer = without_kombu

    # -- the app itself ---------------------------------------------------------------------------------------------------

    def set_current(self) -> None:
        """Make it the process's current app, in all threads."""
        current.set_app(self)

    def set_default(self) -> None:
        """Make it the app that stands in while no other is current."""
        current.set_default(self)

    def close(self) -> None:
        """Close its connections and stop being anybody's current app."""
        self._wiring.close()
        if "events" in vars(self) and hasattr(self.events, "close"):
            self.events.close()
        current.forget_app(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self, argv: Sequence[str] | None = None) -> int:
        """Run the `sedano` command with this app."""
        return late.run_command(self, argv)

    def worker_main(self, argv: Sequence[str] | None = None) -> int:
        """As `start`, for the command `worker`."""
        words = sys.argv[1:] if argv is None else list(argv)
        if "worker" not in words:
            raise ValueError("The worker sub-command must be specified in argv: app.worker_main(['worker', '--loglevel=info'])")
        return self.start(words)

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The class of this app's worker nodes: `app.Worker(loglevel="INFO").start()`; to be subclassed, too."""
        return late.worker_class(self)

    @property
    def WorkController(self) -> Any:  # noqa: N802 - Celery's name
        """As `Worker`."""
        return self.Worker

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """The class of this app's beats: `app.Beat(loglevel="INFO").run()`."""
        return late.beat_class(self)

    def bugreport(self) -> str:
        """What a bug report should hold: versions, platform, stores, settings without secrets, which of them have no effect."""
        return late.bugreport(self)

    def __reduce__(self) -> Any:
        return rebuilding.rebuild, (type(self), self.__reduce_keys__(), self.module_file)

    def __reduce_keys__(self) -> dict[str, Any]:
        """The constructor's keywords that make this app again."""
        return rebuilding.keywords_of(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            coming = _COMING.get(name)
            hint = f" yet: it comes with {coming}" if coming else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {id(self):#x}>"


Sedano = Celery
App = Celery

_COMING = {
    "pool": "Kombu's connections, which Sedano does without",
    "producer_pool": "Kombu's connections, which Sedano does without",
}
# The loader that reads a module of settings without being told which.
_DEFAULT_LOADERS = ("default", "celery.loaders.default:Loader")
_LOADERS = ("app", "default", "celery.loaders.app:AppLoader", "celery.loaders.default:Loader")

"""`AsyncResult`: what a caller holds of a call."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sedano import current, exceptions, states
from sedano.exceptions import ImproperlyConfigured
from sedano.result import tree
from sedano.result.blocking import assert_will_not_block
from sedano.result.callbacks import call_when_final

if TYPE_CHECKING:
    from typing import Generic

    from typing_extensions import TypeVar as DefaultTypeVar

    R = DefaultTypeVar("R", default=Any)

    class _Result(Generic[R]):
        pass
else:
    R = TypeVar("R")

    class _Result:
        def __class_getitem__(cls, _result: Any) -> type:
            return cls


class ResultBase(_Result[R]):
    """What all kinds of results are."""

    parent: Any = None


class AsyncResult(ResultBase[R]):
    """The state and result of the call `id`. `R` is what the task returns.

    It asks the backend of its app: the one given, else the process's current one, in any thread. A final record is
    remembered.
    """

    TimeoutError = exceptions.TimeoutError
    _unsent: Any = None  # why its call was not sent (`reason`), for one that was to go out with others

    def __init__(
        self,
        id: Any,  # noqa: A002 - Celery's name: text
        backend: Any = None,
        task_name: str | None = None,
        app: Any = None,
        parent: Any = None,
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self.id: str = id
        self._app = app
        self._backend = backend
        self._name = task_name
        self.parent = parent
        self.ignored = False
        self._cache: dict[str, Any] | None = None

    # -- whom it asks -----------------------------------------------------------------------------------------------------

    @property
    def app(self) -> Any:
        """Its app. Raises ImproperlyConfigured when there is none."""
        app = self._app or current.get_app()
        if app is None:
            raise ImproperlyConfigured(
                f"AsyncResult({self.id!r}): there is no app in this process to ask. Make or import one first, or give it:"
                " AsyncResult(id, app=app)."
            )
        return app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        return self.app.backend if self._backend is None else self._backend

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend = backend

    @property
    def task_id(self) -> str:
        return self.id

    # -- waiting ----------------------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: Any = states.EXCEPTION_STATES,  # noqa: N803 - Celery's name
        PROPAGATE_STATES: Any = states.PROPAGATE_STATES,  # noqa: N803 - Celery's name
    ) -> R:
        """Wait for the call to end; its result, or raise what it raised (return it, with `propagate=False`).

        `callback(id, value)` is called with the result, `on_message(meta)` with every record on the way. `interval` and
        `no_ack` have no meaning here and are accepted. A call whose result is ignored gives None at once.
        Raises TimeoutError after `timeout` seconds, RuntimeError inside of a task (see `allow_join_result`).
        """
        del interval, no_ack, EXCEPTION_STATES
        if self.ignored:
            return None  # type: ignore[return-value]
        self._refuse_unsent()
        if disable_sync_subtasks:
            assert_will_not_block()
        if follow_parents and propagate:
            self._throw_for_parents()
        if on_interval is not None:
            on_interval()
        meta = self._cache
        if meta is None:
            meta = self._wait(timeout, on_message)
        return self._conclude(meta, propagate, callback, PROPAGATE_STATES)

    wait = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in get()
        propagate: bool = True,
        *,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
    ) -> R:
        """As `get`, without blocking the event loop; allowed inside of tasks only as `get` is."""
        if self.ignored:
            return None  # type: ignore[return-value]
        self._refuse_unsent()
        assert_will_not_block()
        if propagate and self.parent is not None:
            await importlib.import_module("asyncio").to_thread(self._throw_for_parents)
        meta = self._cache
        if meta is None:
            meta = await importlib.import_module("sedano.result.awaiting").final_meta(self, timeout, on_message)
        return self._conclude(meta, propagate, callback, states.PROPAGATE_STATES)

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def then(self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None, weak: bool = False) -> Any:
        """Call `callback(self)` when the call has ended (`on_error(self)` instead after a failure), from another thread.

        Returns itself. A call that has ended calls back at once, here.
        """
        del weak

        def call_back() -> None:
            (on_error if on_error is not None and not self.successful() else callback)(self)

        if self.ready():
            call_back()
        else:
            call_when_final(self, call_back)
        return self

    def _refuse_unsent(self) -> None:
        """Raise RuntimeError for a call that was not sent: nobody will ever run it."""
        if self._unsent is not None:
            raise RuntimeError(f"call {self.id} was not sent: {self._unsent.reason}.")

    def _wait(self, timeout: float | None, on_message: Callable[[Any], Any] | None) -> dict[str, Any]:
        with closing(self._records(timeout)) as records:
            for payload in records:
                meta = self.backend.decode(payload)
                if on_message is not None:
                    on_message(meta)
                if meta["status"] in states.READY_STATES:
                    return self._keep(meta)
        raise AssertionError("records() ends only by raising")

    def _records(self, timeout: float | None) -> Generator[bytes, None, None]:
        records: Generator[bytes, None, None] = self.backend.reader.records(self.id, timeout)
        return records

    def _keep(self, meta: dict[str, Any]) -> dict[str, Any]:
        self._cache = meta
        return meta

    def _conclude(self, meta: dict[str, Any], propagate: bool, callback: Any, propagating: Any) -> R:
        result: Any = meta["result"]
        if propagate and meta["status"] in propagating:
            self.throw(result, meta.get("traceback"))
        if callback is not None:
            callback(self.id, result)
        return result  # type: ignore[no-any-return]

    def _throw_for_parents(self) -> None:
        """A failed step fails the whole: raise what the first failed parent raised."""
        parents: list[Any] = []
        node = self.parent
        while node is not None:
            parents.append(node)
            node = node.parent
        for node in reversed(parents):
            node.maybe_throw()

    # -- asking -----------------------------------------------------------------------------------------------------------

    def _get_task_meta(self) -> dict[str, Any]:
        if self._cache is not None:
            return self._cache
        meta: dict[str, Any] = self.backend.get_task_meta(self.id)
        return self._keep(meta) if meta["status"] in states.READY_STATES else meta

    @property
    def state(self) -> str:
        """PENDING for an unknown call."""
        return str(self._get_task_meta()["status"])

    status = state

    @property
    def result(self) -> Any:
        """The return value of a success, the exception of a failure, the meta of a state of one's own."""
        return self._get_task_meta()["result"]

    info = result

    @property
    def traceback(self) -> str | None:
        return self._get_task_meta().get("traceback")

    @property
    def date_done(self) -> datetime | None:
        """When it ended, aware of its zone."""
        done = self._get_task_meta().get("date_done")
        return datetime.fromisoformat(done) if isinstance(done, str) else done

    @property
    def children(self) -> list[Any] | None:
        """Results of the calls that this one sent, members of groups among them; None while it has not ended."""
        children = self._get_task_meta().get("children")
        if not children:
            return None
        return [result for child in children for result in _flat(child, self._app)]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """(parent, result) for this result and all below it; see `tree.walk`."""
        return tree.walk(self, intermediate)

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """(result, value) for this result and all below it, waiting for each."""
        return tree.collect(self, intermediate, **kwargs)

    def get_leaf(self) -> Any:
        """The value of the last call below this one."""
        return [value for _, value in self.collect()][-1]

    @property
    def name(self) -> str | None:
        """The task's name, when `result_extended` is on; as are those below."""
        return self._get_task_meta().get("name")

    @property
    def args(self) -> Any:
        return self._get_task_meta().get("args")

    @property
    def kwargs(self) -> Any:
        return self._get_task_meta().get("kwargs")

    @property
    def worker(self) -> str | None:
        return self._get_task_meta().get("worker")

    @property
    def retries(self) -> int | None:
        return self._get_task_meta().get("retries")

    @property
    def queue(self) -> str | None:
        return self._get_task_meta().get("queue")

    @property
    def supports_native_join(self) -> bool:
        return bool(self.backend.supports_native_join)

    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        return self.state == states.FAILURE

    def exists(self) -> bool:
        """Whether a record is stored."""
        return bool(self.backend.exists(self.id))

    def throw(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise the result, which is an exception; a second argument is the traceback text of the worker."""
        exc = args[0] if args else kwargs.get("exc", self.result)
        text = args[1] if len(args) > 1 else kwargs.get("tb")
        if not isinstance(exc, BaseException):
            exc = RuntimeError(f"call {self.id} failed: {exc!r}")
        if text and self._shows_remote_traceback():
            exc.add_note(f"\nThe worker's traceback:\n{text}")
        raise exc

    def _shows_remote_traceback(self) -> bool:
        app = self._app or current.get_app()
        return app is not None and bool(app.conf.typed("task_remote_tracebacks"))

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise what the call raised, if it has failed; else its result so far."""
        meta = self._get_task_meta()
        return self._conclude(meta, propagate, callback, states.PROPAGATE_STATES)

    maybe_reraise = maybe_throw

    # -- acting -----------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Delete the stored record, here and of its parents."""
        self._cache = None
        if self.parent is not None:
            self.parent.forget()
        self.backend.forget(self.id)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Do not run it; `terminate` also ends it where it runs."""
        return self.app.control.revoke(
            self.id, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    # -- as a value -------------------------------------------------------------------------------------------------------

    def as_tuple(self) -> Any:
        """`((id, parent's tuple), None)`: what is stored among the children of a call."""
        return (self.id, self.parent.as_tuple() if self.parent is not None else None), None

    def as_list(self) -> list[str]:
        """Its id and those of its parents."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return self.id == other.id
        return self.id == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __reduce__(self) -> Any:
        return type(self), (self.id, None, self._name, None, self.parent)


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """A result from `as_tuple()`; anything that is a result already stays."""
    if isinstance(r, ResultBase):
        return r
    (identity, members) = r
    task_id, parent = identity if isinstance(identity, list | tuple) else (identity, None)
    if members:
        raise NotImplementedError(f"group result {task_id}: GroupResult comes with canvas")
    return AsyncResult(task_id, app=app, parent=result_from_tuple(parent, app) if parent else None)


def _flat(child: Any, app: Any) -> list[Any]:
    """A child's result, or those of the members of a group."""
    if not isinstance(child, ResultBase) and child[1]:
        return [result for member in child[1] for result in _flat(member, app)]
    return [result_from_tuple(child, app)]

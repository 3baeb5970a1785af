"""What a result tells without waiting: its app, its state, what is stored of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from sedano import current, states
from sedano.exceptions import ImproperlyConfigured
from sedano.result import ahead
from sedano.result.base import R, ResultBase, result_from_tuple

if TYPE_CHECKING:
    pass


class Asking(ResultBase[R]):
    """The part of `AsyncResult` that asks. A final record is kept in `_cache`, one that was read ahead in `payload_ahead`."""

    payload_ahead: bytes | None = None
    made_at = -1

    id: str
    _app: Any
    _backend: Any
    _cache: dict[str, Any] | None

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

    @task_id.setter
    def task_id(self, task_id: str) -> None:
        self.id = task_id

    # -- asking -----------------------------------------------------------------------------------------------------------

    def _get_task_meta(self) -> dict[str, Any]:
        if self._cache is not None:
            return self._cache
        backend = self.backend
        if not backend.is_enabled:
            return backend.get_task_meta(self.id)  # type: ignore[no-any-return]
        payload = ahead.held(self, backend.reader)
        if payload is not None:
            meta: dict[str, Any] = backend.decode(payload)
            if meta["status"] in states.READY_STATES:
                return self._keep(meta)
        payload = ahead.present(self, backend.reader)
        meta = backend.pending(self.id) if payload is None else backend.decode(payload)
        return self._keep(meta) if meta["status"] in states.READY_STATES else meta

    def _keep(self, meta: dict[str, Any]) -> dict[str, Any]:
        self._cache = meta
        self.payload_ahead = None
        return meta

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
        """Results of the calls and groups that this one sent, an empty list when it sent none; None while nothing is stored."""
        meta = self._get_task_meta()
        children: list[Any] | None = meta.get("children")
        if not children:
            return children
        if not all(isinstance(child, ResultBase) for child in children):
            children = meta["children"] = [result_from_tuple(child, self._app) for child in children]
        return children

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

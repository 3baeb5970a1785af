"""`EagerResult`: the result of a call that was run at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sedano import states
from sedano.exceptions import TaskRevokedError
from sedano.result.asyncresult import AsyncResult
from sedano.result.blocking import assert_will_not_block

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    R = TypeVar("R", default=Any)
else:
    from typing import TypeVar

    R = TypeVar("R")


class EagerResult(AsyncResult[R]):
    """The result of a call that was run at once."""

    _is_stored = False

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(id, task_name=name)
        self._cache = {
            "task_id": id,
            "result": ret_value,
            "status": state,
            "traceback": traceback,
            "name": name,
            "children": None,
        }

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
        """The result, or raise what the call raised."""
        del timeout, interval, no_ack, follow_parents, on_message, on_interval, EXCEPTION_STATES
        if disable_sync_subtasks:
            assert_will_not_block()
        return self._conclude(self._get_task_meta(), propagate, callback, PROPAGATE_STATES)

    wait = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in get()
        propagate: bool = True,
        *,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
    ) -> R:
        del on_message
        return self.get(timeout, propagate, callback=callback)

    @property
    def supports_native_join(self) -> bool:
        return False

    def ready(self) -> bool:
        return True

    def then(self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None, weak: bool = False) -> Any:
        del weak
        (on_error if on_error is not None and not self.successful() else callback)(self)
        return self

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """It has run already: only the state and the result say so."""
        del args, kwargs
        revoked = {"status": states.REVOKED, "result": TaskRevokedError("revoked"), "traceback": None}
        self._cache = {**self._get_task_meta(), **revoked}

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __reduce__(self) -> Any:
        meta = self._get_task_meta()
        return type(self), (self.id, meta["result"], meta["status"], meta["traceback"], meta["name"])

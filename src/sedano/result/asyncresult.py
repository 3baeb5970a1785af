"""`AsyncResult`: what a caller holds of a call."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from sedano import exceptions, states
from sedano.result import ahead, tree
from sedano.result.asking import Asking
from sedano.result.base import R, is_single, parents_of
from sedano.result.blocking import assert_will_not_block
from sedano.result.callbacks import OnReady, call_when_final
from sedano.result.graph import DependencyGraph, graph_of


@is_single
class AsyncResult(Asking[R]):
    """The state and result of the call `id`. `R` is what the task returns.

    It asks the backend of its app: the one given, else the process's current one, in any thread. A final record is
    remembered.
    """

    TimeoutError = exceptions.TimeoutError
    _is_stored = True
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
        self._cache = None
        ahead.unread.note(self)

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
        if on_interval is not None:
            on_interval()
        parents = self._parents_to_hear() if follow_parents and propagate else {}
        meta = self._cache
        if meta is None:
            meta = self._wait(timeout, on_message, parents)
        if follow_parents and propagate and self._failed_for_others(meta):
            self._throw_of_parents()
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
        parents = self._parents_to_hear() if propagate else {}
        meta = self._cache
        if meta is None:
            meta = self._held_meta(on_message, parents)
        if meta is None:
            meta = await importlib.import_module("sedano.result.awaiting").final_meta(self, timeout, on_message, parents)
        if propagate and self._failed_for_others(meta):
            await importlib.import_module("sedano.result.awaiting").in_thread(self._throw_of_parents)
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

    @property
    def on_ready(self) -> OnReady:
        """`then` of it as a thing of its own, and whether it has ended."""
        return OnReady(self)

    def _refuse_unsent(self) -> None:
        """Raise RuntimeError for a call that was not sent: nobody will ever run it."""
        if self._unsent is not None:
            raise RuntimeError(f"call {self.id} was not sent: {self._unsent.reason}.")

    def _wait(
        self, timeout: float | None, on_message: Callable[[Any], Any] | None, parents: Mapping[str, Any]
    ) -> dict[str, Any]:
        meta = self._held_meta(on_message, parents)
        if meta is not None:
            return meta
        reader = self.backend.reader
        records = reader.records([*parents, self.id], timeout) if parents else ahead.records(self, reader, timeout)
        last = b""
        with closing(records):
            for task_id, payload in records:
                if payload != last:  # one that was read and then also heard
                    meta = self._heard(task_id, payload, on_message, parents)
                    if meta is not None:
                        return meta
                last = payload
        raise AssertionError("records() ends only by raising")

    def _held_meta(self, on_message: Callable[[Any], Any] | None, parents: Mapping[str, Any]) -> dict[str, Any] | None:
        """The meta if it was read ahead and is final."""
        payload = None if self.payload_ahead is None else ahead.held(self, self.backend.reader)
        return None if payload is None else self._heard(self.id, payload, on_message, parents)

    def _heard(
        self, task_id: str, payload: bytes, on_message: Callable[[Any], Any] | None, parents: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """The meta if this record ends the waiting. Raises what a parent raised."""
        meta: dict[str, Any] = self.backend.decode(payload)
        is_final = meta["status"] in states.READY_STATES
        if task_id != self.id:
            if is_final:
                parent = parents[task_id]
                parent._keep(meta)
                if parent._failed_for_others(meta):  # it may be heard of before the header that failed it
                    parent._throw_of_parents()
                parent.maybe_throw()
            return None
        if on_message is not None:
            on_message(meta)
        return self._keep(meta) if is_final else None

    def _conclude(self, meta: dict[str, Any], propagate: bool, callback: Any, propagating: Any) -> R:
        result: Any = meta["result"]
        if propagate and meta["status"] in propagating:
            self.throw(result, meta.get("traceback"))
        if callback is not None:
            callback(self.id, result)
        return result  # type: ignore[no-any-return]

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise what the call raised, if it has failed; else its result so far."""
        meta = self._get_task_meta()
        return self._conclude(meta, propagate, callback, states.PROPAGATE_STATES)

    maybe_reraise = maybe_throw

    def _parents_to_hear(self) -> dict[str, Any]:
        """A failed step fails the whole: the parents whose end is not known, the first first. Raises for one that failed."""
        unknown: dict[str, Any] = {}
        for node in parents_of(self):
            if isinstance(node, AsyncResult) and node._cache is None and node.backend is self.backend:
                unknown[node.id] = node
            else:
                try:
                    node.maybe_throw()
                except exceptions.ChordError:  # the header that failed it was looked at before it had failed
                    self._throw_of_parents()
                    raise
        return unknown if self._cache is None else {}

    def _failed_for_others(self, meta: Mapping[str, Any]) -> bool:
        """Whether this is the body of a chord that never ran: what a header task raised says more than its ChordError."""
        return self.parent is not None and isinstance(meta["result"], exceptions.ChordError)

    def _throw_of_parents(self) -> None:
        for node in parents_of(self):
            node.maybe_throw()

    # -- below it ---------------------------------------------------------------------------------------------------------

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """(parent, result) for this result and all below it; see `tree.walk`."""
        return tree.walk(self, intermediate)

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """(result, value) for this result and all below it, waiting for each."""
        return tree.collect(self, intermediate, **kwargs)

    def get_leaf(self) -> Any:
        """The value of the last call below this one."""
        return [value for _, value in self.collect()][-1]

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> DependencyGraph:
        """This result and all below it as a graph; see `iterdeps`. `formatter` is accepted and has no meaning here."""
        del formatter
        return graph_of(self.iterdeps(intermediate=intermediate))

    @functools.cached_property
    def graph(self) -> DependencyGraph:
        return self.build_graph()

    # -- acting -----------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Delete the stored record, here and of its parents."""
        self._cache = self.payload_ahead = None
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

    def revoke_by_stamped_headers(
        self,
        headers: dict[str, Any],
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Do not run the calls with these stamps, whichever they are."""
        return self.app.control.revoke_by_stamped_headers(
            headers, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
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

    def __copy__(self) -> Any:
        return type(self)(self.id, self._backend, self._name, self._app, self.parent)

    def __reduce__(self) -> Any:
        return type(self), (self.id, None, self._name, None, self.parent)

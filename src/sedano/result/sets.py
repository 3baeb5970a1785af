"""`ResultSet`: several results as one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import aclosing, closing
from typing import Any

from sedano import current, states
from sedano.exceptions import ImproperlyConfigured
from sedano.result import gathering
from sedano.result.base import ResultBase
from sedano.result.blocking import assert_will_not_block
from sedano.result.callbacks import OnReady, call_when_all

Callback = Callable[[str, Any], Any] | None


class ResultSet(ResultBase[Any]):
    """Several results together. Members may be sets themselves. It asks and waits for all of them at once.

    `ready_barrier` is accepted and has no meaning here.
    """

    _app: Any = None

    def __init__(self, results: Iterable[Any] | None, app: Any = None, ready_barrier: Any = None, **kwargs: Any) -> None:
        del ready_barrier, kwargs
        self.results: list[Any] = results if isinstance(results, list) else list(results or ())
        if app is not None:
            self._app = app

    # -- whom it asks -----------------------------------------------------------------------------------------------------

    @property
    def app(self) -> Any:
        """The one given, else that of its first member, else the current one. Raises ImproperlyConfigured for none."""
        if self._app is not None:
            return self._app
        if self.results:
            return self.results[0].app
        app = current.get_app()
        if app is None:
            raise ImproperlyConfigured(
                f"{self!r}: there is no app in this process to ask. Give it: {type(self).__name__}(app=app)."
            )
        return app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        return self.app.backend

    @property
    def supports_native_join(self) -> bool | None:
        """Whether `get` waits for all at once; None for an empty set."""
        return self.results[0].supports_native_join if self.results else None

    # -- members ----------------------------------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Add a member, unless it is one."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove a member, a result or its id. Raises KeyError when it is none."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Remove a member if it is one."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add those that are no members."""
        known = set(self.results)
        for result in results:
            if result not in known:
                known.add(result)
                self.results.append(result)

    def clear(self) -> None:
        self.results.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    # -- asking -----------------------------------------------------------------------------------------------------------

    def _statuses(self) -> Iterator[str]:
        return (meta["status"] for _, meta in gathering.metas(self.results))

    def successful(self) -> bool:
        """Whether all have succeeded."""
        return all(status == states.SUCCESS for status in self._statuses())

    def failed(self) -> bool:
        """Whether one has failed."""
        return any(status == states.FAILURE for status in self._statuses())

    def waiting(self) -> bool:
        """Whether one has not ended."""
        return not self.ready()

    def ready(self) -> bool:
        """Whether all have ended."""
        return all(status in states.READY_STATES for status in self._statuses())

    def completed_count(self) -> int:
        """How many members have succeeded; a member that is a set counts as one."""
        found = {id(result): meta["status"] for result, meta in gathering.metas(self.results)}
        return sum(all(found[id(leaf)] == states.SUCCESS for leaf in gathering.leaves((member,))) for member in self.results)

    def maybe_throw(self, callback: Callback = None, propagate: bool = True) -> None:
        """Raise what one of them raised, if one has failed; `callback(id, value)` for each that has not."""
        for result, meta in gathering.metas(self.results):
            result._conclude(meta, propagate, callback, states.PROPAGATE_STATES)

    maybe_reraise = maybe_throw

    def _failed_join_report(self) -> Iterator[Any]:
        """Those known here to have failed."""
        return (
            leaf
            for leaf in gathering.leaves(self.results)
            if leaf._cache is not None and leaf._cache["status"] in states.PROPAGATE_STATES
        )

    # -- waiting ----------------------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback = None,
        no_ack: bool = True,
        on_message: gathering.OnMessage = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> Any:
        """Wait for all to end; their results in the order of the members. `join_native` where the store can, else `join`."""
        join = self.join_native if self.supports_native_join else self.join
        return join(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks,
            on_interval=on_interval,
        )

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback = None,
        no_ack: bool = True,
        on_message: gathering.OnMessage = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Wait for one after the other; their results, or [] when `callback(id, value)` is given each.

        Raises what the first of them that failed raised (a list with the exception, with `propagate=False`), TimeoutError
        after `timeout` seconds in all, RuntimeError inside of a task, ImproperlyConfigured for `on_message`.
        """
        del interval, no_ack
        if disable_sync_subtasks:
            assert_will_not_block()
        if on_message is not None:
            raise ImproperlyConfigured("join() hears of no single records: use join_native(on_message=...)")
        ends_at = None if timeout is None else time.monotonic() + timeout
        values: list[Any] = []
        for result in self.results:
            value = result.get(
                timeout=None if ends_at is None else max(0.0, ends_at - time.monotonic()),
                propagate=propagate,
                on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )
            if callback is not None:
                callback(result.id, value)
            else:
                values.append(value)
        return values

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: gathering.OnMessage = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """(id, final meta) for each member when it has ended, in that order; (id, its members) for one that is a set.

        Raises TimeoutError after `timeout` seconds in all.
        """
        del interval, no_ack
        if on_interval is not None:
            on_interval()
        calls: list[Any] = []
        for member in self.results:
            if isinstance(member, ResultSet):
                yield getattr(member, "id", ""), member.results
            else:
                calls.append(member)
        with closing(gathering.finals(calls, timeout, on_message)) as ended:
            for result, meta in ended:
                yield result.id, meta

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback = None,
        no_ack: bool = True,
        on_message: gathering.OnMessage = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any] | None:
        """As `join`, waiting for all at once: the first failure is raised when it comes, `callback` is called in the order
        in which they end, and then None is returned."""
        del interval, no_ack
        if disable_sync_subtasks:
            assert_will_not_block()
        if on_interval is not None:
            on_interval()
        ended = gathering.finals(self.results, timeout, on_message)
        values = {id(result): _value(result, meta, propagate, callback) for result, meta in ended}
        return None if callback is not None else [_arranged(member, values) for member in self.results]

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in get()
        propagate: bool = True,
        *,
        callback: Callback = None,
        on_message: gathering.OnMessage = None,
    ) -> list[Any] | None:
        """As `get`, without blocking the event loop."""
        assert_will_not_block()
        values: dict[int, Any] = {}
        async with aclosing(gathering.afinals(self.results, timeout, on_message)) as ended:
            async for result, meta in ended:
                values[id(result)] = _value(result, meta, propagate, callback)
        return None if callback is not None else [_arranged(member, values) for member in self.results]

    ajoin = aget

    async def aiter_native(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in iter_native()
        on_message: gathering.OnMessage = None,
    ) -> AsyncIterator[tuple[str, Any]]:
        """(id, final meta) for each call in it when it has ended."""
        async with aclosing(gathering.afinals(self.results, timeout, on_message)) as ended:
            async for result, meta in ended:
                yield result.id, meta

    def __await__(self) -> Generator[Any, None, list[Any] | None]:
        return self.aget().__await__()

    def then(self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None, weak: bool = False) -> Any:
        """Call `callback(self)` when all have ended (`on_error(self)` instead if one failed), from another thread.

        Returns itself. When all have ended it calls back at once, here.
        """
        del weak

        def call_back() -> None:
            (on_error if on_error is not None and not self.successful() else callback)(self)

        if self.ready():
            call_back()
        else:
            call_when_all(self, call_back)
        return self

    @property
    def on_ready(self) -> OnReady:
        """`then` of it as a thing of its own, and whether all have ended."""
        return OnReady(self)

    # -- acting -----------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Delete the stored records of all, and of their parents."""
        gathering.forget(self.results)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Run none of them; `terminate` also ends them where they run."""
        task_ids = [leaf.id for leaf in gathering.leaves(self.results)]
        return self.app.control.revoke(
            task_ids, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    # -- as a value -------------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    def __hash__(self) -> int:
        raise TypeError(f"unhashable type: {type(self).__name__!r}: its members may change")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(map(str, self.results))}]>"


def _value(result: Any, meta: dict[str, Any], propagate: bool, callback: Callback) -> Any:
    return result._conclude(meta, propagate, callback, states.PROPAGATE_STATES)


def _arranged(member: Any, values: dict[int, Any]) -> Any:
    if isinstance(member, ResultSet):
        return [_arranged(each, values) for each in member.results]
    return values[id(member)]

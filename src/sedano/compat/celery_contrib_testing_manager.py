"""`celery.contrib.testing.manager`: waiting for what a worker elsewhere does."""

from __future__ import annotations

import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from sedano import states
from sedano.exceptions import OperationalError
from sedano.exceptions import TimeoutError as ResultTimeout
from sedano.result import ResultSet


class Sentinel(Exception):
    """What was waited for is not so yet."""


class ManagerMixin:
    """What `Manager` can do, for classes that have an `app`."""

    app: Any

    def _init_manager(
        self,
        block_timeout: float = 1800.0,
        no_join: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.block_timeout, self.no_join = block_timeout, no_join
        self.stdout, self.stderr = stdout or sys.stdout, stderr or sys.stderr

    def remark(self, s: str, sep: str = "-") -> None:
        """Say something."""
        self.stdout.write(f"{sep}{s}\n")

    def warn(self, s: str) -> None:
        """Say that something is wrong."""
        self.stderr.write(f"{s}\n")

    def missing_results(self, r: Iterable[Any]) -> list[str]:
        """Ids of those that are not ready."""
        return [one.id for one in r if not one.ready()]

    def wait_for(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        errback: Callable[..., Any] | None = None,
        max_retries: int | None = 10,
        interval_start: float = 0.1,
        interval_step: float = 0.5,
        interval_max: float = 5.0,
        emit_warning: bool = False,
        **_options: Any,
    ) -> Any:
        """What `fun` returns, as soon as it does not raise `catch`; that after `max_retries` more tries (None: without end)."""
        interval = interval_start
        for tried in itertools.count():
            try:
                return fun(*args, **(kwargs or {}))
            except catch as exc:
                if max_retries is not None and tried >= max_retries:
                    raise
                if emit_warning:
                    self.warn(f"Still waiting for {desc}, trying again in {interval:g} s: {exc!r}")
                if errback is not None:
                    errback(exc, interval, tried)
            time.sleep(interval)
            interval = min(interval_max, interval + interval_step)
        raise AssertionError  # not reached

    def ensure_not_for_a_while(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        max_retries: int = 20,
        interval_start: float = 0.1,
        interval_step: float = 0.02,
        interval_max: float = 1.0,
        **options: Any,
    ) -> None:
        """Raise AssertionError when `fun` stops raising `catch`."""
        try:
            self.wait_for(
                fun,
                catch,
                desc=desc,
                max_retries=max_retries,
                interval_start=interval_start,
                interval_step=interval_step,
                interval_max=interval_max,
                **options,
            )
        except catch:
            return
        raise AssertionError(f"Should not have happened: {desc}")

    def join(self, r: Any, propagate: bool = False, max_retries: int | None = 10, **kwargs: Any) -> Any:
        """The results of `r` (a result, or a set of them); AssertionError when they do not come."""
        if self.no_join:
            return None
        results = r if isinstance(r, ResultSet) else self.app.ResultSet([r])
        for _ in range(max_retries) if max_retries else itertools.count():
            try:
                return results.get(propagate=propagate, **kwargs)
            except ResultTimeout as exc:
                self.remark(f"Still waiting for {', '.join(self.missing_results(results))}: {exc!r}", "!")
            except OperationalError as exc:
                self.remark(f"join: connection lost: {exc!r}", "!")
        raise AssertionError(f"Test failed: Missing task results: {', '.join(self.missing_results(results))}")

    # -- asking the workers -------------------------------------------------------------------------------------------

    def inspect(self, timeout: float = 3.0) -> Any:
        return self.app.control.inspect(timeout=timeout)

    def query_tasks(self, ids: Iterable[str], timeout: float = 0.5) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(node, {id: [state, request]}) of each node that knows some."""
        yield from (self.inspect(timeout).query_task(*ids) or {}).items()

    def query_task_states(self, ids: Iterable[str], timeout: float = 0.5) -> dict[str, set[str]]:
        """Ids by what the workers do with them: "active", "reserved", "scheduled"."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for _, reply in self.query_tasks(ids, timeout):
            for task_id, (state, _request) in reply.items():
                found[state].add(task_id)
        return found

    def is_received(self, ids: Iterable[str], timeout: float = 0.5) -> bool:
        return self._are(("reserved", "active", "ready"), ids, timeout)

    def is_accepted(self, ids: Iterable[str], timeout: float = 0.5) -> bool:
        return self._are(("active", "ready"), ids, timeout)

    def _are(self, wanted: Sequence[str], ids: Iterable[str], timeout: float) -> bool:
        """A call that no worker holds any more, and that has a result, has been received too."""
        listed = list(ids)
        found = self.query_task_states(listed, timeout)
        known = set[str]().union(*(found.get(state, set()) for state in wanted))
        return all(id_ in known or self.app.AsyncResult(id_).state in states.READY_STATES for id_ in listed)

    @staticmethod
    def is_result_task_in_progress(results: Iterable[Any], **_: Any) -> bool:
        return all(result.state in (states.STARTED, states.SUCCESS) for result in results)

    def assert_received(self, ids: Any, interval: float = 0.5, desc: str = "calls to be received", **policy: Any) -> Any:
        """Wait until workers have all of them."""
        return self.wait_for(lambda: self.true_or_raise(self.is_received, ids, timeout=interval), Sentinel, desc, **policy)

    def assert_accepted(self, ids: Any, interval: float = 0.5, desc: str = "calls to begin", **policy: Any) -> Any:
        """Wait until workers run all of them."""
        return self.wait_for(lambda: self.true_or_raise(self.is_accepted, ids, timeout=interval), Sentinel, desc, **policy)

    def assert_result_tasks_in_progress_or_completed(
        self, async_results: Any, interval: float = 0.5, desc: str = "calls to be started or over", **policy: Any
    ) -> Any:
        """Wait until all have begun, by their results."""
        del interval
        return self.wait_for(
            lambda: self.true_or_raise(self.is_result_task_in_progress, async_results), Sentinel, desc, **policy
        )

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `fun` returns; Sentinel when that is nothing."""
        found = fun(*args, **kwargs)
        if not found:
            raise Sentinel
        return found

    def wait_until_idle(self) -> None:
        """Drop what waits, then wait until no worker runs anything."""
        while self.app.control.purge():
            pass
        while any((self.inspect().active() or {}).values()):
            time.sleep(0.1)


class Manager(ManagerMixin):
    """Helps tests of an app whose worker runs elsewhere."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.app = app
        self._init_manager(**options)


__all__ = ["Manager", "ManagerMixin", "Sentinel"]

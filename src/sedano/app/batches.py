"""`with app.batch():` collects the calls that are sent inside and publishes them together, in few round trips.

A batch belongs to the thread, asyncio task and process that opened it. What others send meanwhile (a thread or a task started
inside of the block, a forked child) is published at once, as ever: when the block ends, nobody waits for them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sedano import signals
from sedano.app import late
from sedano.app.context import worker_call
from sedano.app.drafts import Draft
from sedano.app.messages import announced
from sedano.app.sending import INTERRUPTED, MOST_BYTES, MOST_MESSAGES
from sedano.contracts.queues import QueueSpec
from sedano.exceptions import BrokerUnavailable, NotAllSent, OperationalError, SoftTimeLimitExceeded

if TYPE_CHECKING:
    from sedano.app.base import Celery


class Collected(msgspec.Struct, gc=False):
    """A call that is ready to go. `is_child`: a running call keeps the result among its children once it is sent."""

    made: Draft
    result: Any
    is_child: bool


class Unsent(msgspec.Struct):
    """Why a call was not sent: whoever waits for it would wait for ever."""

    reason: str


class Batch:
    """The calls of one block so far."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.items: list[Collected] = []
        self.unsent = Unsent(
            "it is in a batch that is still open, and goes out when the `with app.batch():` block ends. Wait for it after that"
        )
        self._owner = _here()

    def add(self, item: Collected) -> Any:
        item.result._unsent = self.unsent
        self.items.append(item)
        return item.result

    def is_here(self) -> bool:
        return self._owner == _here()

    def cut(self, start: int) -> None:
        """Drop what was added after the first `start` calls."""
        dropped = Unsent("it was dropped, because an exception ended the block of its `with app.batch():`")
        for item in self.items[start:]:
            item.result._unsent = dropped
        del self.items[start:]


_BRISK_S = 0.005
_open: ContextVar[tuple[Batch, ...]] = ContextVar("sedano_batches", default=())


def open_batch(app: Celery) -> Batch | None:
    """The batch that collects the calls of `app` here."""
    for batch in _open.get():
        if batch.app is app and batch.is_here():
            return batch
    return None


def _here() -> tuple[int, int, Any]:
    asyncio = sys.modules.get("asyncio")
    task = None
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop runs here
            task = None
    return os.getpid(), threading.get_ident(), task


@contextmanager
def collected(app: Celery) -> Generator[list[Collected]]:
    """Within it, calls of this thread to `app` are prepared and not sent: whoever opens it has them published."""
    batch, before = Batch(app), _open.get()
    _open.set((batch, *before))
    try:
        yield batch.items
    finally:
        _open.set(before)


class BatchBlock:
    """What `app.batch()` returns: a `with` or `async with` block. One inside of another joins it."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._entered: list[tuple[Batch, int, bool]] = []

    def __enter__(self) -> Self:
        outer = open_batch(self._app)
        batch = outer or Batch(self._app)
        self._entered.append((batch, len(batch.items), outer is None))
        if outer is None:
            _open.set((*_open.get(), batch))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        items = self._leave(exc)
        if items:
            publish_all(self._app, items)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        items = self._leave(exc)
        if items:
            await publish_all_async(self._app, items)

    def _leave(self, exc: BaseException | None) -> list[Collected]:
        """End the block; what is to be published now."""
        batch, start, is_outermost = self._entered.pop()
        if is_outermost:
            _open.set(tuple(other for other in _open.get() if other is not batch))
        if exc is not None:
            batch.cut(start)
        # A child that was forked inside of the block leaves its parent's calls to the parent.
        return batch.items if is_outermost and batch.is_here() else []


# -- publishing many ------------------------------------------------------------------------------------------------------


class Pace:
    """How many calls make a step: few, which stay in the processor's cache, or more where the broker is far away."""

    def __init__(self) -> None:
        self.limit = 128
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        if time.monotonic() - self._began > _BRISK_S:
            self.limit = min(2 * self.limit, MOST_MESSAGES)


class Step(msgspec.Struct):
    """Calls that are published in one step, and how."""

    items: list[Collected]
    declare: Sequence[QueueSpec]
    retry: bool
    policy: dict[str, Any]


def publish_all(
    app: Celery, items: Sequence[Collected], results: Sequence[Any] | None = None, pace: Pace | None = None
) -> None:
    """Publish in steps of bounded size, each all or nothing where the store can. Raises NotAllSent.

    `results` are those of all calls of which `items` are the last; the others were sent before.
    """
    done, pace = 0, pace or Pace()
    for step in steps(items, pace):
        try:
            messages = [item.made.outgoing() for item in step.items]
            with pace:
                app.sender.publish(messages, declare=step.declare, retry=step.retry, policy=step.policy)
        except BaseException as exc:
            _fail(exc, items, done, len(step.items), results)
        done += len(step.items)
        if app.terms.sent_event:
            app.events.tell_sent([item.made for item in step.items])
        _succeed(step)


async def publish_all_async(
    app: Celery, items: Sequence[Collected], results: Sequence[Any] | None = None, pace: Pace | None = None
) -> None:
    """As `publish_all`, without blocking the event loop."""
    done, pace = 0, pace or Pace()
    for step in steps(items, pace):
        try:
            messages = [item.made.outgoing() for item in step.items]
            with pace:
                await late.publish_async(app, messages, step.declare, retry=step.retry, policy=step.policy)
        except BaseException as exc:
            _fail(exc, items, done, len(step.items), results)
        done += len(step.items)
        if app.terms.sent_event:
            await late.in_thread(app.events.tell_sent, [item.made for item in step.items])
        _succeed(step)


def steps(items: Sequence[Collected], pace: Pace) -> Iterator[Step]:
    """`items` in order, cut where a step is full and where the policy of retrying changes."""
    step: Step | None = None
    size, lists = 0, dict[int, Sequence[QueueSpec]]()
    for item in items:
        made = item.made
        size += len(made.message.body)
        if step is not None and (
            len(step.items) >= pace.limit
            or size > MOST_BYTES
            or made.retry != step.retry
            or (made.retry_policy is not step.policy and made.retry_policy != step.policy)
        ):
            yield _declaring(step, lists)
            step, size, lists = None, len(made.message.body), {}
        if step is None:
            step = Step([], (), made.retry, made.retry_policy)
        step.items.append(item)
        lists[id(made.address.declare)] = made.address.declare
    if step is not None:
        yield _declaring(step, lists)


def _declaring(step: Step, lists: dict[int, Sequence[QueueSpec]]) -> Step:
    step.declare = next(iter(lists.values())) if len(lists) == 1 else [spec for specs in lists.values() for spec in specs]
    return step


def _succeed(step: Step) -> None:
    is_heard = bool(signals.after_task_publish.receivers or signals.task_sent.receivers)
    running = worker_call()
    if not is_heard and running is None and step.items[0].result._unsent is None:  # nobody has seen these results yet
        return
    for item in step.items:
        item.result._unsent = None
        announced(item.made)
        if item.is_child:
            add_to_parent(item.result)


def _fail(exc: BaseException, items: Sequence[Collected], done: int, count: int, all_results: Sequence[Any] | None) -> None:
    """Say what became of each call: the step of `count` calls after the first `done` was interrupted or refused."""
    results = [item.result for item in items]
    before = all_results[: len(all_results) - len(items)] if all_results is not None else ()
    sent, tried, rest = [*before, *results[:done]], results[done : done + count], results[done + count :]
    is_known = _is_refusal(exc)
    refused = exc.refused if is_known and isinstance(exc, OperationalError) else None
    if refused is not None:  # the store has the others
        taken = [result for place, result in enumerate(tried) if place not in refused]
        for result in taken:
            result._unsent = None
        sent += taken
        tried = [result for place, result in enumerate(tried) if place in refused]
    unknown, unsent = ([], [*tried, *rest]) if is_known else (tried, rest)
    reason = Unsent(f"of its batch only a part was sent: {type(exc).__name__}: {exc}")
    for result in unknown:
        result._unsent = None
    for result in unsent:
        result._unsent = reason
    total = len(before) + len(items)
    text = f"{len(sent)} of {total} calls were sent"
    if unknown:
        text += f"; of {len(unknown)} more it is not known, because the broker's answer did not come"
    text += f"; {len(unsent)} were not sent"
    if isinstance(exc, SoftTimeLimitExceeded) or not isinstance(exc, Exception):
        exc.add_note(text)
        raise exc
    raise NotAllSent(f"{text} (see sent, unknown and unsent of this error): {exc}", sent, unknown, unsent) from exc


def _is_refusal(exc: BaseException) -> bool:
    """Whether the broker certainly has none of the step's calls."""
    if not isinstance(exc, Exception) or isinstance(exc, SoftTimeLimitExceeded):
        return False
    return exc is not INTERRUPTED and not isinstance(exc.__cause__, BrokerUnavailable)


def add_to_parent(result: Any) -> None:
    """A running call keeps the results of what it sends as its children."""
    running = worker_call()
    if running is not None:
        running[0].add_trail(result)

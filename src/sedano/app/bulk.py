"""Many calls at once: `app.send_many`, `app.batch` and their twins for asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sedano.app import eager, late
from sedano.app.batches import BatchBlock, Collected, Pace, open_batch, publish_all, publish_all_async
from sedano.app.publishing import CallToSend, prepared
from sedano.app.sending import MOST_BYTES
from sedano.canvas import shapes
from sedano.canvas.signature import Signature, merge
from sedano.exceptions import NotAllSent
from sedano.result import AsyncResult

if TYPE_CHECKING:
    from sedano.app.base import Celery

BulkCall: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""A signature, or `(task, args, kwargs, options)` with a task or a task's name; what follows the task may be left out."""


class SendsMany:
    """The part of `Celery` that sends many calls at once."""

    def send_many(self, calls: Iterable[BulkCall]) -> list[AsyncResult[Any]]:
        """Send many calls in few round trips; their results, in order.

        A call is a signature, or `(task, args, kwargs, options)`: a task or its name, and as much of the rest as is needed.
        They are prepared and published in steps of some hundreds, so that `calls` may be a generator of millions. Returns
        when the broker has accepted all; otherwise raises `NotAllSent`, which tells which calls were sent. A call that cannot
        be prepared (TypeError, EncodeError ...) raises its own error when nothing was sent before it.
        Inside of `with app.batch()` the calls join the batch.
        """
        app = cast("Celery", self)
        results: list[AsyncResult[Any]] = []
        pace = Pace()
        for found in _portions(app, calls, results, pace):
            publish_all(app, found, results, pace)
        return results

    async def asend_many(self, calls: Iterable[BulkCall]) -> list[AsyncResult[Any]]:
        """As `send_many`, without blocking the event loop."""
        app = cast("Celery", self)
        if app.terms.always_eager:
            eager_results: list[AsyncResult[Any]] = await late.in_thread(self.send_many, calls)
            return eager_results
        results: list[AsyncResult[Any]] = []
        pace = Pace()
        for found in _portions(app, calls, results, pace):
            await publish_all_async(app, found, results, pace)
        return results

    def batch(self) -> BatchBlock:
        """`with app.batch():` (or `async with`) collects every `delay`, `apply_async` and `send_task` of this app inside of
        the block, and publishes them together at its end, as `send_many` does.

        The results are there at once, with their ids; waiting for one inside of the block raises RuntimeError. When an
        exception ends the block, nothing is sent. A block inside of another joins it. Only calls of this thread and asyncio
        task are collected. Raises NotAllSent at the end of the block when the broker did not take them all.
        """
        return BatchBlock(cast("Celery", self))


def _portions(app: Celery, calls: Iterable[BulkCall], results: list[Any], pace: Pace) -> Iterator[list[Collected]]:
    """Calls that are ready to be published together. `results` grows along."""
    batch = open_batch(app)
    found: list[Collected] = []
    size = 0
    for number, call in enumerate(calls):
        try:
            to_send = _call_of(app, call)
            if app.terms.always_eager and to_send.task is not None:
                results.append(eager.apply_instead(app, to_send))
                continue
            item = prepared(app, to_send)
        except Exception as exc:
            sent = results[: len(results) - len(found)] if batch is None else []
            if not sent:
                exc.add_note(f"This was call number {number} (from 0) of send_many; none was sent.")
                raise
            unsent = [item.result for item in found]
            raise NotAllSent(f"call number {number} (from 0) cannot be sent: {exc}", sent, (), unsent) from exc
        results.append(item.result)
        if batch is not None:
            batch.add(item)
            continue
        found.append(item)
        size += len(item.made.message.body)
        if len(found) >= pace.limit or size >= MOST_BYTES:
            yield found
            found, size = [], 0
    if found:
        yield found


def _call_of(app: Celery, call: BulkCall) -> CallToSend:
    if isinstance(call, Mapping):
        return _of_signature(app, call)
    parts: list[Any] = list(call) if isinstance(call, tuple | list) else []
    if not 1 <= len(parts) <= 4:
        raise TypeError(f"a call is a signature or (task, args, kwargs, options), not {call!r}")
    task, args, kwargs, options = parts + [None] * (4 - len(parts))
    return _of_task(app, task, args, kwargs, dict(options or {}))


def _of_signature(app: Celery, call: Mapping[str, Any]) -> CallToSend:
    signature = call if isinstance(call, Signature) else Signature.from_dict(call, app=app)
    if shapes.kind(signature) != "task":
        raise TypeError(f"send_many takes single calls: apply the {shapes.kind(signature)} {signature!r} by itself")
    args, kwargs, options = merge(signature, None, None, None)
    return _of_task(app, getattr(signature, "_type", None) or signature.task, args, kwargs, options)


def _of_task(app: Celery, task: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> CallToSend:
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"a call begins with a task or a task's name, not {task!r}")
    if isinstance(task, str) or task.app is not app:
        task = app.tasks.get(name)
    if task is None:
        return app.call_by_name(name, args, kwargs, options)
    take = options.pop
    call: CallToSend = task._prepare(
        args, kwargs, take("task_id", None), take("link", None), take("link_error", None), take("shadow", None), options
    )
    return call

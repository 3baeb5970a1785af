"""The twin of `attempt.run_attempt` for an event loop: the same order of hooks and signals, with the body awaited."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Any

from sedano import current, signals, states
from sedano.app.attempt import OUR_FILES, Attempt, Prepare, close_attempt, raised_attempt, say_over
from sedano.app.context import Context, pop_request, push_request
from sedano.contracts.settlement import Outcome

OUR_FILES.add(__file__)
Drive = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]


async def run_attempt_on_loop(
    task: Any, request: Context, args: Any, kwargs: Any, drive: Drive, prepare: Prepare | None = None
) -> Attempt:
    """As `run_attempt`, in an asyncio task of its own; `drive` awaits the coroutine. Hooks and signals block the loop.

    Raises besides what `drive` raises to end the call from outside.
    """
    token, running = push_request(task, request), current.push_task(task)
    attempt: Attempt | None = None
    try:
        attempt = close_attempt(task, request, args, kwargs, await _run_body(task, request, args, kwargs, drive), prepare)
        return attempt
    finally:
        try:
            say_over(task, request, args, kwargs, attempt)
        finally:
            current.pop_task(running)
            pop_request(token)


async def _run_body(task: Any, request: Context, args: Any, kwargs: Any, drive: Drive) -> Attempt:
    plan = task.plan
    if signals.task_prerun.receivers:
        signals.task_prerun.send(sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs)
    start = time.monotonic()
    try:
        if plan.before_start is not None:
            plan.before_start(request.id, args, kwargs)
        value = (task.run if plan.direct else task)(*args, **kwargs)
        if type(value) is CoroutineType:
            value = await drive(value)
        return Attempt(Outcome.SUCCESS, states.SUCCESS, value, runtime_s=time.monotonic() - start)
    except Exception as exc:  # the edge: what the user's code raised is the outcome
        return raised_attempt(exc, time.monotonic() - start)

"""No waiting for results inside of a task: with every slot waiting, nobody would be left to run what they wait for."""

from __future__ import annotations

import contextvars
from collections.abc import Generator
from contextlib import contextmanager

from sedano import current

_allowed: contextvars.ContextVar[bool | None] = contextvars.ContextVar("sedano_join_allowed", default=None)


def task_join_will_block() -> bool:
    """Whether waiting here would hold up a worker."""
    allowed = _allowed.get()
    if allowed is not None:
        return not allowed
    for task in reversed(current.running_tasks()):
        request = task.request
        if not request.called_directly:
            return not request.is_eager
    return False


def assert_will_not_block() -> None:
    """Raise RuntimeError where waiting would hold up a worker."""
    if task_join_will_block():
        raise RuntimeError(
            "Never call result.get() within a task! The worker could end up with every process waiting for another one."
            " Send the rest of the work as a callback instead (link=...), or, if you are sure: with allow_join_result(): ..."
        )


@contextmanager
def allow_join_result() -> Generator[None]:
    """Within it, results may be waited for inside of a task."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


@contextmanager
def denied_join_result() -> Generator[None]:
    """Within it, results may not be waited for."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)

"""What is known about a task once it is registered, so that the hot path need not ask again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sedano.app.functions import is_coroutine_function

HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")


class TaskPlan(msgspec.Struct, frozen=True):
    """`direct`: `run` may be called without going through an overridden `__call__`. `is_coroutine`: `run` is `async def`.
    Hooks are None unless the task overrides them.
    """

    direct: bool
    is_coroutine: bool
    before_start: Callable[..., Any] | None
    on_success: Callable[..., Any] | None
    on_failure: Callable[..., Any] | None
    on_retry: Callable[..., Any] | None
    after_return: Callable[..., Any] | None


def plan_of(task: Any, base: type) -> TaskPlan:
    """Look once at what `task` overrides of `base`, which is `Task`."""
    kind = type(task)

    def hook(name: str) -> Any:
        own = name in vars(task) or getattr(kind, name) is not getattr(base, name)
        return getattr(task, name) if own else None

    direct = kind.__call__ is base.__call__
    return TaskPlan(direct, is_coroutine_function(task.run), *(hook(name) for name in HOOKS))

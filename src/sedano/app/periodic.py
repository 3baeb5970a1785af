"""`app.add_periodic_task`: entries of `beat_schedule` from code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sedano.canvas.signature import Signature

if TYPE_CHECKING:
    from sedano.app.configured import Configured


class PeriodicEntries:
    """Adds entries to the app's `beat_schedule`; those that come before the configuration was read wait for it."""

    def __init__(self, app: Configured) -> None:
        self._app = app
        self._waiting: list[tuple[str, bool, dict[str, Any]]] = []

    def add(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        name: str | None,
        options: Mapping[str, Any],
    ) -> str:
        """See `Celery.add_periodic_task`; returns the key."""
        call = sig.clone(args, kwargs) if isinstance(sig, Signature) else sig.s(*args, **kwargs)
        key = name or repr(call)
        entry = {
            "schedule": schedule,
            "task": call.task,
            "args": call.args,
            "kwargs": call.kwargs,
            "options": {**call.options, **options},
        }
        if self._app.conf.is_loaded:
            self._put(key, name is not None, entry)
        else:
            self._waiting.append((key, name is not None, entry))
        return key

    def settle(self) -> None:
        """Add what waits; called when the configuration was read."""
        waiting, self._waiting = self._waiting, []
        for key, is_named, entry in waiting:
            self._put(key, is_named, entry)

    def _put(self, key: str, is_named: bool, entry: dict[str, Any]) -> None:
        entries = self._app.conf.beat_schedule or {}
        if key in entries and not is_named:
            warnings.warn(
                f"Periodic task {key!r} is added twice: the second replaces the first. Give each a name=...", stacklevel=4
            )
        self._app.conf.beat_schedule = {**entries, key: entry}

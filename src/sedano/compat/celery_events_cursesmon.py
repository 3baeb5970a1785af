"""`celery.events.cursesmon`: the screen of `celery events`, which can be imported and not run."""

from __future__ import annotations

from typing import Any, NoReturn

_NOT_YET = (
    "the screen of `celery events` is not part of Sedano: a screen comes with the monitor. To follow the events use"
    " `sedano events --dump`, or app.events.Receiver"
)


class CursesMonitor:
    """Cannot be made: NotImplementedError says what to use."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise NotImplementedError(_NOT_YET)


def evtop(app: Any = None) -> NoReturn:
    """Raises NotImplementedError."""
    del app
    raise NotImplementedError(_NOT_YET)


__all__ = ["CursesMonitor", "evtop"]

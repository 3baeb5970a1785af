"""Which scheduler a beat of an app uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sedano.app.base import Celery

STORE = "sedano.beat:StoreScheduler"


def chosen_scheduler(app: Celery, given: Any = None) -> Any:
    """`given` (a class or a name) when there is one, else the setting; where neither says anything, the one whose entries live
    in the store, if that can carry them, else Celery's with its file."""
    if given:
        return given
    conf = app.conf
    if conf.value_set_for("beat_scheduler") or not app.stores.carries_schedules:
        return conf.beat_scheduler
    return STORE

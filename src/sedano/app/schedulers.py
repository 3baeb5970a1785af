"""Which scheduler a beat of an app uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sedano.log import get_logger

if TYPE_CHECKING:
    from sedano.app.base import Celery

logger = get_logger("celery.beat")

STORE = "sedano.beat:StoreScheduler"


def chosen_scheduler(app: Celery, given: Any = None) -> Any:
    """`given` (a class or a name) when there is one, else the setting; where neither says anything, the one whose entries live
    in the store, if that can carry them, else Celery's with its file."""
    if given:
        return given
    conf = app.conf
    if conf.value_set_for("beat_scheduler"):
        return conf.beat_scheduler
    if app.stores.carries_schedules:
        return STORE
    logger.warning(
        "beat: The broker keeps no schedules: this beat has its own, in a file, and knows nothing of others. Start one only, or"
        " set schedule_store to the URL of a store that keeps them (redis://, sqlite://)."
    )
    return conf.beat_scheduler

"""Sends tasks when they are due: `sedano beat`, `sedano worker -B`.

Everything here has Celery's names, for schedulers that other packages bring are subclasses of these classes.
"""

from sedano.beat.entry import BeatLazyFunc, ScheduleEntry, SchedulingError
from sedano.beat.persistent import PersistentScheduler
from sedano.beat.pidbox import BeatPidbox, beat_nodename
from sedano.beat.scheduler import DEFAULT_MAX_INTERVAL, Scheduler, event_t
from sedano.beat.service import EmbeddedService, Service
from sedano.beat.storescheduler import StoreScheduler

__all__ = [
    "DEFAULT_MAX_INTERVAL",
    "BeatLazyFunc",
    "BeatPidbox",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "StoreScheduler",
    "beat_nodename",
    "event_t",
]

"""The loop that lets a scheduler tick: `Service`, alone in a process, or embedded into a worker in a thread of its own."""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from functools import cached_property
from typing import Any

from sedano import signals
from sedano.app.finding import symbol_by_name
from sedano.beat.persistent import PersistentScheduler
from sedano.beat.pidbox import BeatPidbox
from sedano.beat.scheduler import Stopped
from sedano.clock import SYSTEM_CLOCK
from sedano.exceptions import ImproperlyConfigured
from sedano.log import get_logger
from sedano.nearest import hint
from sedano.schedules.intervals import humanize_seconds

logger = get_logger("celery.beat")

NAMESPACE = "celery.beat_schedulers"
_CELERY = ("celery.beat:", "celery.beat.")


def find_scheduler(name: Any, namespace: str = NAMESPACE) -> Any:
    """The class that `name` means: a class, a dotted path, or the name of an entry point. Celery's paths mean our classes,
    with and without the alias. Raises ImproperlyConfigured."""
    if not isinstance(name, str):
        return name
    points = {point.name: point.value for point in importlib.metadata.entry_points(group=namespace)}
    path = points.get(name, name)
    if path.startswith(_CELERY):
        path = f"sedano.beat:{path[len(_CELERY[0]) :]}"
    if ":" not in path and "." not in path:
        raise ImproperlyConfigured(
            f"there is no scheduler {name!r}.{hint(name, points)} Give its path, module:Class, or one of the installed ones:"
            f" {', '.join(sorted(points)) or 'none'}."
        )
    try:
        return symbol_by_name(path)
    except (ImportError, AttributeError) as exc:
        raise ImproperlyConfigured(f"the scheduler {name!r} cannot be loaded: {exc}") from exc


class _Woken(BaseException):
    """Raised by a signal in a tick that waits: the tick is to give up what it waits for, in good order."""


class Service:
    """Ticks until it is stopped. The arguments left out are those of the settings; `remote_control`: answer `inspect ping`."""

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
        remote_control: bool | None = None,
        hostname: str | None = None,
    ) -> None:
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.remote_control = app.conf.beat_enable_remote_control if remote_control is None else remote_control
        self.hostname = hostname
        self.effective_max_interval: float | None = None
        self._pidbox: BeatPidbox | None = None
        self._last_tick: float | None = None
        self._is_shutdown = threading.Event()
        self._is_stopped = threading.Event()
        self._is_asked = False
        self._pauses = False
        self._may_leave = True  # whether a signal may end it where it stands: not while something is being sent

    def __reduce__(self) -> Any:
        given = (self.max_interval, self.schedule_filename, self.scheduler_cls, self.remote_control, self.hostname)
        return self.__class__, (self.app, *given)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, embedded_process: bool = False) -> None:
        """Tick until `stop`, or until SystemExit or KeyboardInterrupt is raised in it; then save the schedule."""
        logger.info("beat: Starting...")
        try:
            scheduler = self.scheduler
            scheduler.pause = self._pause
            self.effective_max_interval = scheduler.max_interval
            logger.debug("beat: Ticking with max interval->%s", humanize_seconds(scheduler.max_interval))
            signals.beat_init.send(sender=self)
            if embedded_process:
                signals.beat_embedded_init.send(sender=self)
            check = getattr(scheduler, "check_entries", None)
            if check is not None:
                check()
            self._last_tick = SYSTEM_CLOCK.monotonic()  # before anybody can ask how long ago it was
            if self.remote_control:
                self._pidbox = BeatPidbox(self)
                self._pidbox.start()
            self._run(scheduler)
        except Stopped:
            logger.warning("beat: Stopped while the broker is away: what was due is sent at the next start")
        except (KeyboardInterrupt, SystemExit, _Woken):
            self._is_shutdown.set()
        finally:
            # The schedule first: whoever stops it may not wait for the thread.
            try:
                self.sync()
            finally:
                if self._pidbox is not None:
                    self._pidbox.stop()

    def _run(self, scheduler: Any) -> None:
        while not self._is_shutdown.is_set():
            self._may_leave = False
            if self._has_been_asked():
                return
            interval = scheduler.tick()
            self._last_tick = SYSTEM_CLOCK.monotonic()
            if interval and interval > 0.0:
                logger.debug("beat: Waking up %s.", humanize_seconds(interval, prefix="in "))
                self._may_leave = True
                if self._has_been_asked():
                    return
                self._is_shutdown.wait(min(interval, threading.TIMEOUT_MAX))
                self._may_leave = False  # a file that is half written is worth less than none
                if scheduler.should_sync():
                    scheduler._do_sync()

    def _has_been_asked(self) -> bool:
        return self._is_asked

    def _pause(self, seconds: float) -> bool:
        """Wait within a tick; False when it is to end."""
        try:
            self._pauses = True
            return not (self._is_asked or self._is_shutdown.wait(seconds))
        except _Woken:
            return False
        finally:
            self._pauses = False

    def leave(self) -> None:
        """Stop, from a signal handler in the thread that ticks: at once while it waits, else when the tick is over. Asked
        twice, at once in any case: raises SystemExit."""
        is_second, self._is_asked = self._is_asked, True
        if self._may_leave or is_second:
            raise SystemExit
        if self._pauses:
            raise _Woken

    def sync(self) -> None:
        """Save and close the schedule."""
        if "scheduler" in self.__dict__:
            self.scheduler.close()
        self._is_stopped.set()

    def stop(self, wait: bool = False) -> None:
        """Have it end after the tick that it is in; `wait` for that. From any thread but that of a signal handler."""
        logger.info("beat: Shutting down...")
        self._is_shutdown.set()
        if wait:
            self._is_stopped.wait()

    # -- the scheduler ------------------------------------------------------------------------------------------------

    def get_scheduler(self, lazy: bool = False, extension_namespace: str = NAMESPACE) -> Any:
        """A new scheduler of the class that was chosen; `lazy` for a look at it only."""
        return find_scheduler(self.scheduler_cls, extension_namespace)(
            app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy
        )

    @cached_property
    def scheduler(self) -> Any:
        return self.get_scheduler()


class EmbeddedService(threading.Thread):
    """A service in a thread of the process that it is made in. `start` it; `stop` returns when it has ended, or `patience_s`
    is over. A loop that ends with an error is begun again: the tasks of a worker must not wait for ever for one bad moment.

    `thread` has no meaning: there is no other kind. Further arguments are those of `Service`; commands are not answered,
    the worker does that.

    Raises ImproperlyConfigured for a scheduler that there is not.
    """

    AGAIN_S = 5.0

    def __init__(self, app: Any, max_interval: float | None = None, thread: bool = True, **kwargs: Any) -> None:
        super().__init__(name="Beat", daemon=True)
        del thread
        kwargs.setdefault("remote_control", False)
        self.app = app
        self._made: dict[str, Any] = {"max_interval": max_interval, **kwargs}
        self.service = Service(app, **self._made)
        find_scheduler(self.service.scheduler_cls)  # a name that means none is better said now
        self._is_stopping = threading.Event()

    def run(self) -> None:
        problem = ""
        while True:
            try:
                self.service.start(embedded_process=True)
            except Exception as exc:
                # What is wrong with its file may be over when another beat ends: it is said once.
                is_news, problem = str(exc) != problem, str(exc)
                is_known = isinstance(exc, ImproperlyConfigured)
                logger.log(
                    logging.CRITICAL if is_news else logging.DEBUG,
                    "beat raised exception %s: %s; it is tried again every %g seconds",
                    type(exc).__name__,
                    exc,
                    self.AGAIN_S,
                    exc_info=not is_known,
                )
            else:
                return
            if self._is_stopping.wait(self.AGAIN_S):
                return
            self.service = Service(self.app, **self._made)

    def begin_to_stop(self) -> None:
        """Have it end, and do not wait. Safe twice, and before `start`."""
        if not self._is_stopping.is_set():
            self._is_stopping.set()
            if self.is_alive():
                self.service.stop()

    def stop(self, patience_s: float = 10.0) -> None:
        """As `begin_to_stop`; returns when it has ended, or `patience_s` is over."""
        self.begin_to_stop()
        if self.is_alive():
            self.join(patience_s)

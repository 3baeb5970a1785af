"""`Beat`: a beat as a program, with banner, log, pidfile and signals. What `sedano beat` and `app.Beat(...).run()` start."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from sedano import __version__
from sedano.app import late
from sedano.app.discovery import Loader
from sedano.app.pidfile import Pidfile
from sedano.app.schedulers import chosen_scheduler
from sedano.beat.pidbox import beat_nodename
from sedano.beat.service import Service
from sedano.exceptions import ImproperlyConfigured
from sedano.log import get_logger, mlevel, redact_url, say
from sedano.schedules.intervals import humanize_seconds
from sedano.settings.validation import require_valid

logger = get_logger("celery.beat")


class Beat:
    """`app` None means the class's own, else the current one; what is left out is read from the settings.

    `settled` is called when everything that can be wrong with settings and files is known to be right. `options` of Celery's
    that have no meaning here are accepted. Raises ImproperlyConfigured, PidfileInUse.
    """

    Service: Any = Service
    app: Any = None

    def __init__(
        self,
        max_interval: float | None = None,
        app: Any = None,
        socket_timeout: int = 30,
        pidfile: str | None = None,
        no_color: bool | None = None,
        loglevel: int | str = "WARN",
        logfile: str | None = None,
        schedule: str | None = None,
        scheduler: Any = None,
        scheduler_cls: Any = None,
        redirect_stdouts: bool | None = None,
        redirect_stdouts_level: int | str | None = None,
        quiet: bool = False,
        remote_control: bool | None = None,
        hostname: str | None = None,
        settled: Callable[[], None] | None = None,
        **options: Any,
    ) -> None:
        del socket_timeout, options
        self.app = app = app or type(self).app or late.current_app()
        self.max_interval, self.pidfile, self.no_color, self.quiet = max_interval, pidfile, no_color, quiet
        self.loglevel, self.logfile = mlevel(loglevel), logfile
        self.schedule = app.either("beat_schedule_filename", schedule)
        self.scheduler_cls = chosen_scheduler(app, scheduler or scheduler_cls)
        self.redirect_stdouts = app.either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = app.either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.remote_control, self.hostname, self.settled = remote_control, hostname, settled

    def run(self) -> None:
        """Until it is stopped by `SIGTERM` or `SIGINT`."""
        if not self.quiet:
            say(f"celery beat v{__version__} (sedano) is starting.")
        self.init_loader()
        with self._pidfile():
            self.start_scheduler()

    def init_loader(self) -> None:
        """Import what holds tasks and schedules."""
        app = self.app
        app.set_current()
        app.loader.import_default_modules()
        require_valid(app.conf)
        app.finalize()

    def start_scheduler(self) -> None:
        """Run the service to its end."""
        service = self.Service(
            app=self.app,
            max_interval=self.max_interval,
            scheduler_cls=self.scheduler_cls,
            schedule_filename=self.schedule,
            remote_control=self.remote_control,
            hostname=self.hostname,
        )
        if not self.quiet:
            say(self.banner(service))
        self.setup_logging()
        with self._hearing_signals(service):
            try:
                service.scheduler  # noqa: B018 - it opens its file: what is wrong with it is said at the terminal
                if self.settled is not None:
                    self.settled()
                service.start()
            except Exception as exc:
                is_explained = isinstance(exc, ImproperlyConfigured)
                logger.critical("beat raised exception %s: %r", exc.__class__, exc, exc_info=not is_explained)
                raise

    def setup_logging(self, colorize: bool | None = None) -> None:
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        self.app.log.setup(self.loglevel, self.logfile, self.redirect_stdouts, self.redirect_stdouts_level, colorize=colorize)

    # -- what it says -------------------------------------------------------------------------------------------------

    def banner(self, service: Any) -> str:
        return f"__    -    ... __   -        _\n{self.startup_info(service)}"

    def startup_info(self, service: Any) -> str:
        scheduler = service.get_scheduler(lazy=True)
        every = scheduler.max_interval
        lines = [
            f"LocalTime -> {time.strftime('%Y-%m-%d %H:%M:%S')}",
            "Configuration ->",
            f"    . broker -> {redact_url(self.app.stores.broker_url)}",
            f"    . loader -> {_name_of(self.app.loader)}",
            f"    . scheduler -> {_name_of(scheduler)}",
            scheduler.info,
            f"    . logfile -> {self.logfile or '[stderr]'}@%{logging.getLevelName(self.loglevel)}",
            f"    . maxinterval -> {humanize_seconds(every)} ({every:g}s)",
        ]
        if service.remote_control:
            lines.append(f"    . remote control -> {beat_nodename(service.hostname)}")
        return "\n".join(line for line in lines if line)

    # -- what it leans on ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _pidfile(self) -> Generator[None]:
        if not self.pidfile:
            yield
            return
        pidfile = Pidfile(self.pidfile)
        pidfile.acquire()
        try:
            yield
        finally:
            pidfile.release()

    @contextlib.contextmanager
    def _hearing_signals(self, service: Any) -> Generator[None]:
        """Within it, SIGTERM and SIGINT end the service in good order; in the main thread, which alone can hear them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def leave(*_: Any) -> None:
            service.leave()

        before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _name_of(thing: Any) -> str:
    """The dotted path of an object's class; of our own where Celery has it."""
    kind = type(thing)
    if kind is Loader:
        return "celery.loaders.app.AppLoader"
    module = "celery.beat" if kind.__module__.startswith("sedano.beat.") else kind.__module__
    return f"{module}.{kind.__qualname__}"

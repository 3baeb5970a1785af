"""`app.log`: Celery's face of logging, for programs that are no worker and want the same lines, or to set up parts of it."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sedano.app.nodenames import node_name
from sedano.log import ColorFormatter, LoggingProxy, get_logger, mlevel
from sedano.worker import logs
from sedano.worker.plan import WorkerOptions, log_plan

if TYPE_CHECKING:
    from sedano.app.base import Celery

_REDIRECTED = "celery.redirected"


class Logging:
    """The loggers of this process by the settings of an app. The first `setup` counts: a worker has done it for its tasks."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.loglevel = logging.WARNING
        self.format: str = app.conf.worker_log_format
        self.task_format: str = app.conf.worker_task_log_format
        self.colorize: bool | None = app.conf.worker_log_color

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        redirect_stdouts: bool = False,
        redirect_level: int | str = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> Any:
        """Set up all loggers, and with `redirect_stdouts` what is printed. What receivers of `setup_logging` answered: then
        they have done it. None when it was done before."""
        handled = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        return handled

    def setup_logging_subsystem(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        format: str | None = None,  # noqa: A002 - Celery's name
        colorize: bool | None = None,
        hostname: str | None = None,
        **_: Any,
    ) -> Any:
        """As `setup`, without the redirection."""
        if self.already_setup:
            return None
        return logs.setup_logs(self._plan(loglevel, logfile, format, None, colorize, hostname))

    def setup_task_loggers(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        format: str | None = None,  # noqa: A002
        colorize: bool | None = None,
        propagate: bool = False,
        **_: Any,
    ) -> logging.Logger:
        """Set up the logger of tasks, and return it."""
        plan = self._plan(loglevel, logfile, None, format, colorize, None)
        return logs.setup_task_logger(plan, logfile, self.supports_color(colorize, logfile), propagate=propagate)

    def setup_handlers(
        self,
        logger: logging.Logger,
        logfile: Any,
        format: str,  # noqa: A002
        colorize: bool | None,
        formatter: Any = ColorFormatter,
        **_: Any,
    ) -> logging.Logger:
        """Give `logger` a handler (a file by name, a stream, None for stderr), unless it has one."""
        if not any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            handler = logs.handler_for(logfile)
            handler.setFormatter(formatter(format, use_color=bool(colorize)))
            logger.addHandler(handler)
        return logger

    def redirect_stdouts(self, loglevel: int | str | None = None, name: str = _REDIRECTED) -> None:
        """What is printed becomes lines of the logger `name`."""
        self.redirect_stdouts_to_logger(get_logger(name), loglevel)

    def redirect_stdouts_to_logger(
        self, logger: logging.Logger, loglevel: int | str | None = None, stdout: bool = True, stderr: bool = True
    ) -> LoggingProxy:
        """What is printed becomes lines of `logger`; the stream that stands in for stdout, stderr or both."""
        proxy = LoggingProxy(logger, logging.WARNING if loglevel is None else loglevel)
        if stdout:
            sys.stdout = proxy
        if stderr:
            sys.stderr = proxy
        return proxy

    def get_default_logger(self, name: str = "celery", **_: Any) -> logging.Logger:
        """The logger of that name."""
        return get_logger(name)

    def supports_color(self, colorize: bool | None = None, logfile: str | None = None) -> bool:
        """Whether lines are coloured."""
        return logs.wants_color(self.colorize if colorize is None else colorize, logfile)

    @property
    def already_setup(self) -> bool:
        """Whether the loggers of this process are set up."""
        return logs.is_set_up()

    @already_setup.setter
    def already_setup(self, is_done: bool) -> None:
        logs.note_setup(is_done)

    def _plan(
        self,
        loglevel: int | str | None,
        logfile: str | None,
        line: str | None,
        task_line: str | None,
        color: bool | None,
        hostname: str | None,
    ) -> logs.LogPlan:
        options = WorkerOptions(logfile=logfile, color=self.colorize if color is None else color)
        plan = log_plan(self.app, replaced(options, loglevel=mlevel(loglevel) or self.loglevel), node_name(hostname))
        formats = {"format": line or self.format, "task_format": task_line or self.task_format}
        return replace(plan, file=logfile, redirect=False, **formats)
